"""Print the result of an import, for people and as JSON."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from webapp.ops.cli.console import escape_unprintable
from webapp.ops.loadgen import Figures
from webapp.ops.loadgen.report import figures_as_dict, format_seconds, outcome_table
from webapp.ops.order_import.load import Loader
from webapp.ops.order_import.validate import Findings, Job


def as_json(job: Job, findings: Findings, placing: Loader, figures: Figures | None, *, ended: str) -> str:
    """Return the result for scripts; durations are in seconds, money in minor units.

    :param ended: ``placed``, ``refused`` or ``interrupted``.
    """
    result: dict[str, Any] = {
        "ended": ended,
        "batch": job.batch,
        "sha256": job.source.digest,
        "good": findings.good,
        "bad": findings.bad,
        "faults": [fault._asdict() for fault in findings.faults],
        "money": dict(findings.money),
        "placed": placing.placed,
        "placed_before": placing.before if placing.first is not None else findings.before,
        "skipped": placing.skipped,
        "placing": round(placing.seconds, 3),
    }
    return json.dumps({**result, "outcomes": figures_as_dict(figures) if figures else None}, indent=2)


def show_result(
    console: Console, job: Job, findings: Findings, placing: Loader, figures: Figures | None
) -> None:
    """Print how many orders were placed and how fast, and their outcomes if figures are given."""
    speed = (
        f" in {format_seconds(placing.seconds)} ({placing.placed / placing.seconds:,.0f}/s)"
        if placing.placed
        else ""
    )
    before = f", {placing.before:,} were placed before" if placing.before else ""
    skipped = f", [yellow]{placing.skipped:,} skipped[/]" if placing.skipped else ""
    console.print(f"  [bold]{placing.placed:,}[/] placed{speed}{before}{skipped}")
    console.print(f"  batch {escape_unprintable(job.batch)}", markup=False)
    for currency, amount in sorted(findings.money.items()):
        console.print(f"  {amount:,} minor units of {currency} in {findings.good:,} orders of the file")
    if figures is not None and figures.placed:
        if figures.settled:
            speed = f"{format_seconds(figures.settling)} ({figures.settled_per_second:,.0f}/s)"
            console.print(f"  [bold]{figures.settled:,}[/] settled in {speed}")
        console.print()
        console.print(outcome_table(figures))


def show_faults(console: Console, findings: Findings) -> None:
    """Print the first faults, and how many more there are."""
    for fault in findings.faults:
        console.print(f"  {fault}", markup=False, soft_wrap=True)
    if (more := findings.bad - len(findings.faults)) > 0:
        console.print(f"  … and {more:,} more")
