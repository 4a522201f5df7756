"""A report for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby, islice

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from webapp.ops.reconcile.codes import CHECK_OF, CHECKS, MEANING, Report, Violation

SHOWN = 20
"""Violations of one code that are printed."""


def as_json(report: Report) -> str:
    """Everything that is known, for scripts."""
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


def show(report: Report, console: Console) -> None:
    """The checks with their counts, then each violation with its evidence, then one line that says it all."""
    console.print(_checks(report))
    for code, violations in groupby(report.violations, key=lambda violation: violation.code):
        console.print()
        console.print(f"[bold red]{code}[/]: {escape(MEANING[code])}")
        for violation in islice(violations, SHOWN):
            console.print(violation_shown(violation))
        if (more := report.counts[code] - SHOWN) > 0:
            console.print(f"  … and {more:,} more (--json tells more of them)")
    show_lag(report, console)
    for warning in report.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    if report.moving:
        console.print(
            Text(f"warning: {report.moving:,} suspect(s) kept changing; look again", style="yellow")
        )
    console.print(Text(summary(report), style="bold green" if report.clean else "bold red"))


def show_lag(report: Report, console: Console) -> None:
    """One line, if the audit trail still waits for something."""
    if report.lag is None:
        return
    orders, rows, queued, oldest = report.lag
    owed = [_plural(rows, "outbox row")] + (
        [] if queued is None else [f"{_plural(queued, 'message')} in the audit's queue"]
    )
    console.print(
        Text(
            f"lag: the audit trail of {_plural(orders, 'order')} waits for {' and '.join(owed)}, oldest: {age(oldest)}"
        ),
        style="yellow",
    )


def summary(report: Report) -> str:
    """``12 checks, 10,000 orders, no violation, 1.2 s``."""
    looked = ", ".join(f"{count:,} {what}" for what, count in report.looked_at.items())
    found = "no violation" if report.clean else _plural(report.counts.total(), "violation")
    return f"{len(CHECKS)} checks, {looked}, {found}, {report.seconds:.1f} s"


def age(seconds: float | None) -> str:
    """How old, in the largest unit that fits."""
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


def violation_shown(violation: Violation) -> RenderableType:
    head: Iterable[str] = (
        f"order {violation.order}" if violation.order else "",
        f"saga {violation.saga}" if violation.saga else "",
        age(violation.age),
    )
    lines: list[RenderableType] = [Text("  " + " · ".join(part for part in head if part))]
    for side, said in violation.evidence.items():
        lines.append(Padding(Text.assemble((f"{side}: ", "dim"), said), (0, 0, 0, 4), expand=False))
    return Group(*lines)


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")
