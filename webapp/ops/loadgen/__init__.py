"""Random orders over the catalogue, the same for the same seed: planned, placed, followed until they have
settled.
"""

from __future__ import annotations

from webapp.ops.loadgen.plan import Catalog, EmptyCatalogue, Mix, Planned, plan
from webapp.ops.loadgen.run import Run
from webapp.ops.loadgen.stats import Figures, Stats
from webapp.ops.loadgen.wait import TIMEOUT, SettlementProgress

__all__ = [
    "TIMEOUT",
    "EmptyCatalogue",
    "Figures",
    "SettlementProgress",
    "Mix",
    "Planned",
    "Run",
    "Catalog",
    "Stats",
    "plan",
]
