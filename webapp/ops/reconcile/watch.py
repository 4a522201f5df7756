"""Looking again and again: what has come, what has gone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice

from rich.console import Console
from rich.text import Text

from webapp.ops.reconcile.codes import MEANING, Report, Violation
from webapp.ops.reconcile.report import SHOWN, show_lag, summary, violation_shown

IDENTITY = ("SKU", "account", "database", "participant", "topic", "transaction", "pack")
"""The evidence that says whom a violation is about, where the rest are figures that change."""
Name = tuple[str | None, ...]


@dataclass
class Watch:
    """What was wrong when it was last looked.

    Of a code with more violations than a report keeps, comings and goings beyond the kept ones are not told.
    """

    known: dict[Name, Violation] = field(default_factory=dict)

    def changes(self, report: Report) -> tuple[list[Violation], list[Violation]]:
        """What has come and what has gone since the report before."""
        now = {_name(violation): violation for violation in report.violations}
        come = [violation for name, violation in now.items() if name not in self.known]
        gone = [violation for name, violation in self.known.items() if name not in now]
        self.known = now
        return come, gone


def as_line(at: datetime, report: Report, come: list[Violation], gone: list[Violation]) -> str:
    """One look as one line of JSON."""
    told = {
        "at": at.isoformat(timespec="seconds"),
        "clean": report.clean,
        "looked_at": report.looked_at,
        "counts": dict(report.counts),
        "new": [asdict(violation) for violation in come],
        "gone": [asdict(violation) for violation in gone],
        "lag": report.lag and report.lag._asdict(),
        "moving": report.moving,
        "seconds": round(report.seconds, 3),
    }
    return json.dumps(told)


def show_changes(
    console: Console, at: datetime, report: Report, come: list[Violation], gone: list[Violation]
) -> None:
    """One line for a look that found nothing new; below it, what has come and gone."""
    style = "green" if report.clean else "bold red"
    console.print(Text.assemble((f"{at:%H:%M:%S} ", "dim"), (summary(report), style)), soft_wrap=True)
    show_lag(report, console)
    for what, violations in (("new", come), ("gone", gone)):
        for violation in islice(violations, SHOWN):
            colour = "bold red" if what == "new" else "green"
            console.print(
                Text.assemble((f"  {what} ", colour), f"{violation.code}: {MEANING[violation.code]}"),
                soft_wrap=True,
            )
            console.print(violation_shown(violation))
        if (more := len(violations) - SHOWN) > 0:
            console.print(f"  … and {more:,} more {what}")


def _name(violation: Violation) -> Name:
    """What tells a violation from another."""
    return (
        violation.code,
        violation.order,
        violation.saga,
        *(violation.evidence.get(key) for key in IDENTITY),
    )
