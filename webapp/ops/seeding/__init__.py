"""Random orders over the catalogue, the same for the same seed: planned, placed, followed until they have settled."""

from __future__ import annotations

from webapp.ops.seeding.plan import EmptyCatalogue, Mix, Planned, Shelf, plan
from webapp.ops.seeding.run import Run, Stop
from webapp.ops.seeding.tally import Figures, Tally

__all__ = ["EmptyCatalogue", "Figures", "Mix", "Planned", "Run", "Shelf", "Stop", "Tally", "plan"]
