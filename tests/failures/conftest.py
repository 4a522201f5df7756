from tests.support.fixtures import in_process, installation, shared_in_process, shared_installation

__all__ = ["in_process", "installation", "shared_in_process", "shared_installation"]
