from tests.support.fixtures import house, standing_house, standing_theatre, theatre
from tests.support.network import can_make_hosts

__all__ = ["house", "standing_house", "standing_theatre", "theatre"]

collect_ignore = [] if can_make_hosts() else ["test_dead_peers.py"]
"""It drops packets between network namespaces, which takes root, or CAP_NET_ADMIN and CAP_SYS_ADMIN."""
