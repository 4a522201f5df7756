"""A saga's story as the lines of a table: who did what, how deep under its cause."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from webapp.audit.models import SagaEvent
from webapp.audit.timeline import Story
from webapp.flower.links import flower_task_url
from webapp.operators import display_names

DEEPEST = 12
"""Levels that are still indented."""
ALIKE = 5
"""Lines that are shown of what is said again and again, as an undo that fails for days."""


@dataclass
class TableLine:
    event: SagaEvent
    indent: float
    after: str
    steps: str
    by: str
    task: str | None
    """Where it ran, in Flower."""
    attempt: int | None
    more: int = 0
    """How often the same was said after it."""
    until: str = ""
    """When the last of these was."""


def lines_of(story: Story | None) -> dict[str, Any]:
    """``safe_message`` and ``letters`` for the page; the operators' names take one query."""
    if story is None:
        return {"told": [], "letters": []}
    walked = [pair for begun in story.begun_with for pair in begun.walk()]
    who = display_names(
        [*(told.by for _, told in walked), *(letter.settled_by or "" for letter in story.letters)]
    )
    lines: list[TableLine] = []
    alike: defaultdict[object, list[TableLine]] = defaultdict(list)
    for depth, told in walked:
        event = told.event
        steps = (
            ", ".join(event.data.get("steps") or []) or event.step or ""
        )  # a notice tells which steps it is about
        task = flower_task_url(event.task_id) if event.task_id else None
        counted = event.data.get("attempt") if event.kind == SagaEvent.Kind.NOTICE else None
        attempt = counted or event.attempt  # the task that tries an undo again begins to count anew
        line = TableLine(
            event, 0.5 + 1.2 * min(depth, DEEPEST), story.after(event), steps, who[told.by], task, attempt
        )
        same = alike[event.cause, event.name, event.again, event.participant, steps, event.reason]
        if not told.led_to and len(same) >= ALIKE:
            same[-1].more += 1
            same[-1].until = line.after
        else:
            lines.append(line)
            same.append(line)
    return {"told": lines, "letters": [(letter, who[letter.settled_by or ""]) for letter in story.letters]}
