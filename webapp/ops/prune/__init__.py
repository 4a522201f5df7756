"""Prune: delete journals, packs and audit events of sagas that ended long ago; see docs/decisions/pruning.md.

``run`` does it all, ``sagas`` deletes sagas in batches, ``sql`` has the statements, ``databases`` the
connections.
"""

from webapp.ops.prune.databases import Databases
from webapp.ops.prune.run import Pruned, prune

__all__ = ["Databases", "Pruned", "prune"]
