"""Print a report or the changes since the report before, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import groupby, islice

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from webapp.ops.reconcile.codes import CHECK_OF, CHECKS, MAX_KEPT, MEANING, Report, Violation

MAX_SHOWN = 20
"""Violations of one code that are printed."""


def report_as_json(report: Report) -> str:
    """Return the complete report for scripts."""
    return json.dumps(
        {
            "clean": report.clean,
            "looked_at": report.looked_at,
            "checks": {check: sum(report.counts[code] for code in codes) for check, codes in CHECKS.items()},
            "counts": dict(report.counts),
            "violations": [asdict(violation) for violation in report.violations],
            "warnings": report.warnings,
            "lag": report.lag and report.lag._asdict(),
            "moving": report.moving,
            "seconds": round(report.seconds, 3),
        },
        indent=2,
    )


def show_report(report: Report, console: Console) -> None:
    """Print the counts of all checks, the violations with their evidence, and a summary."""
    console.print(_checks(report))
    for code, violations in groupby(report.violations, key=lambda violation: violation.code):
        console.print()
        console.print(f"[bold red]{code}[/]: {escape(MEANING[code])}")
        for violation in islice(violations, MAX_SHOWN):
            console.print(render_violation(violation))
        if (more := report.counts[code] - MAX_SHOWN) > 0:
            console.print(f"  … and {more:,} more (--json lists up to {MAX_KEPT:,})")
    show_lag(report, console)
    for warning in report.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    if report.moving:
        console.print(
            Text(f"warning: {report.moving:,} suspect(s) were still changing; run it again", style="yellow")
        )
    console.print(Text(summarize(report), style="bold green" if report.clean else "bold red"))


def show_lag(report: Report, console: Console) -> None:
    """Print one line if events are in transit to the audit trail."""
    if report.lag is None:
        return
    orders, rows, queued, oldest = report.lag
    owed = [_plural(rows, "outbox row")] + (
        [] if queued is None else [f"{_plural(queued, 'message')} in the audit's queue"]
    )
    console.print(
        Text(
            f"lag: the audit trail of {_plural(orders, 'order')} waits for {' and '.join(owed)}, oldest: "
            f"{format_age(oldest)}"
        ),
        style="yellow",
    )


def summarize(report: Report) -> str:
    """Return ``12 checks, 10,000 orders, no violation, 1.2 s``."""
    looked = ", ".join(f"{count:,} {what}" for what, count in report.looked_at.items())
    found = "no violation" if report.clean else _plural(report.counts.total(), "violation")
    return f"{len(CHECKS)} checks, {looked}, {found}, {report.seconds:.1f} s"


def format_age(seconds: float | None) -> str:
    """Format an age in the largest unit that fits."""
    if seconds is None:
        return "age unknown"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit} old"
    return f"{max(seconds, 0):.0f} s old"


def _checks(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("check")
    table.add_column("violations", justify="right")
    for check in CHECKS:
        count = sum(n for code, n in report.counts.items() if CHECK_OF[code] == check)
        table.add_row(check, Text(f"{count:,}", style="red") if count else Text("0", style="green"))
    return table


def render_violation(violation: Violation) -> RenderableType:
    head: Iterable[str] = (
        f"order {violation.order}" if violation.order else "",
        f"saga {violation.saga}" if violation.saga else "",
        format_age(violation.age),
    )
    lines: list[RenderableType] = [Text("  " + " · ".join(part for part in head if part))]
    for side, said in violation.evidence.items():
        lines.append(Padding(Text.assemble((f"{side}: ", "dim"), said), (0, 0, 0, 4), expand=False))
    return Group(*lines)


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")


IDENTITY = ("SKU", "account", "database", "participant", "topic", "transaction", "pack")
"""The evidence that identifies a violation; the rest are figures that change."""
Identity = tuple[str | None, ...]


@dataclass
class Watch:
    """The violations of the report before.

    Only the violations that a report keeps are compared, up to :data:`MAX_KEPT` of each code.
    """

    known: dict[Identity, Violation] = field(default_factory=dict)

    def changes(self, report: Report) -> tuple[list[Violation], list[Violation]]:
        """Return the violations that are new and those that are gone since the report before."""
        now = {_identify(violation): violation for violation in report.violations}
        come = [violation for name, violation in now.items() if name not in self.known]
        gone = [violation for name, violation in self.known.items() if name not in now]
        self.known = now
        return come, gone


def watch_as_json(at: datetime, report: Report, come: list[Violation], gone: list[Violation]) -> str:
    """Return a report and its changes as one line of JSON."""
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
    """Print one line for a report, and below it the new and the gone violations."""
    style = "green" if report.clean else "bold red"
    console.print(Text.assemble((f"{at:%H:%M:%S} ", "dim"), (summarize(report), style)), soft_wrap=True)
    show_lag(report, console)
    for what, violations in (("new", come), ("gone", gone)):
        for violation in islice(violations, MAX_SHOWN):
            colour = "bold red" if what == "new" else "green"
            console.print(
                Text.assemble((f"  {what} ", colour), f"{violation.code}: {MEANING[violation.code]}"),
                soft_wrap=True,
            )
            console.print(render_violation(violation))
        if (more := len(violations) - MAX_SHOWN) > 0:
            console.print(f"  … and {more:,} more {what}")


def _identify(violation: Violation) -> Identity:
    """Return what distinguishes a violation from others."""
    return (
        violation.code,
        violation.order,
        violation.saga,
        *(violation.evidence.get(key) for key in IDENTITY),
    )
