"""Generate load: plan random orders from a seed, place them, and measure until they have settled."""

from __future__ import annotations

from webapp.ops.loadgen.plan import Catalog, EmptyCatalogue, Mix, Planned, plan
from webapp.ops.loadgen.run import Run
from webapp.ops.loadgen.stats import Figures, Stats
from webapp.ops.loadgen.wait import TIMEOUT, SettlementProgress

__all__ = [
    "TIMEOUT",
    "Catalog",
    "EmptyCatalogue",
    "Figures",
    "Mix",
    "Planned",
    "Run",
    "SettlementProgress",
    "Stats",
    "plan",
]
