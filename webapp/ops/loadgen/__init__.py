"""Random orders over the catalogue, the same for the same seed: planned, placed, followed until they have
settled.
"""

from __future__ import annotations

from webapp.ops.loadgen.plan import EmptyCatalogue, Mix, Planned, Shelf, plan
from webapp.ops.loadgen.run import Run
from webapp.ops.loadgen.stats import Figures, Tally
from webapp.ops.loadgen.wait import TIMEOUT, Following

__all__ = [
    "TIMEOUT",
    "EmptyCatalogue",
    "Figures",
    "Following",
    "Mix",
    "Planned",
    "Run",
    "Shelf",
    "Tally",
    "plan",
]
