"""Random orders over the catalogue, the same for the same seed: planned, placed, followed until they have settled."""

from __future__ import annotations

from webapp.ops.seeding.following import TIMEOUT, Following
from webapp.ops.seeding.plan import EmptyCatalogue, Mix, Planned, Shelf, plan
from webapp.ops.seeding.run import Run
from webapp.ops.seeding.tally import Figures, Tally

__all__ = ["TIMEOUT", "EmptyCatalogue", "Figures", "Following", "Mix", "Planned", "Run", "Shelf", "Tally", "plan"]
