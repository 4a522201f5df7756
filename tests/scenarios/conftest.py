from tests.support.fixtures import in_process, installation, shared_in_process, shared_installation
from tests.support.network import can_make_hosts

__all__ = ["in_process", "installation", "shared_in_process", "shared_installation"]

collect_ignore = [] if can_make_hosts() else ["test_network_loss.py"]
"""The test drops packets between network namespaces, which needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN."""
