"""Print the figures of a run, for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from webapp.ops.loadgen.run import Run
from webapp.ops.loadgen.stats import Figures

SHOWN = 12
"""The most reasons that are printed; the rest is summed up."""


def as_json(run: Run, figures: Figures, seed: int) -> str:
    """Return all figures for scripts; durations are in seconds."""
    result = {
        "seed": seed,
        "placed": run.placed,
        "placing": round(run.seconds, 3),
        "placed_per_second": round(placed_per_second(run), 1),
        "settled": figures.settled,
        "settled_per_second": round(figures.settled_per_second, 1),
    }
    return json.dumps(
        {**result, **{k: v for k, v in figures_as_dict(figures).items() if k not in result}}, indent=2
    )


def figures_as_dict(figures: Figures) -> dict[str, Any]:
    """Return the figures for JSON."""
    cancels = {outcome or "unanswered": count for outcome, count in figures.cancels.items()}
    return {
        **{k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(figures).items()},
        "cancels": cancels,
    }


def placed_per_second(run: Run) -> float:
    return run.placed / run.seconds if run.seconds else 0.0


def show_figures(console: Console, run: Run, figures: Figures, seed: int) -> None:
    """Print the speed, the outcomes of orders, and the outcomes of cancel requests."""
    speed = f" in {format_seconds(run.seconds)} ({placed_per_second(run):,.0f}/s)" if run.placed else ""
    console.print(f"  [bold]{run.placed:,}[/] placed{speed}, seed {seed}")
    if figures.settled:
        console.print(
            f"  [bold]{figures.settled:,}[/] settled in {format_seconds(figures.settling)}"
            f" ({figures.settled_per_second:,.0f}/s); half within {format_seconds(figures.median)},"
            f" 99 % within {format_seconds(figures.slowest)}"
        )
    if run.placed:
        console.print()
        console.print(outcome_table(figures))
    if run.asked:
        console.print(f"\n  {_cancels(run.asked, figures)}")


def outcome_table(figures: Figures) -> Table:
    """Return a table of outcomes and reasons."""
    table = Table(box=None, header_style="dim", padding=(0, 1), pad_edge=False)
    table.add_column("  outcome", min_width=44)
    table.add_column("orders", justify="right")
    table.add_column("share", justify="right")

    def row(what: str, count: int, style: str = "") -> None:
        share = f"{100 * count / figures.placed:.1f} %" if figures.placed else ""
        table.add_row(f"  {what}", f"{count:,}", share, style=style)

    row("confirmed", figures.confirmed, "green")
    row("rolled back", figures.rolled_back, "yellow" if figures.rolled_back else "")
    shown = list(figures.reasons.items())
    for reason, count in shown[:SHOWN]:
        row(f"  {reason}", count, "dim")
    if shown[SHOWN:]:
        row(f"  {len(shown) - SHOWN} more reasons", sum(count for _, count in shown[SHOWN:]), "dim")
    for status, count in figures.open.items():
        row(f"open, {status.lower().replace('_', ' ')}", count, "cyan")
    row("needs attention", figures.attention, "bold red" if figures.attention else "")
    return table


def _cancels(asked: int, figures: Figures) -> str:
    cancels = figures.cancels
    parts = [f"{cancels.get('cancelled', 0):,} in time", f"{cancels.get('too_late', 0):,} too late"]
    if waiting := cancels.get("", 0):
        parts.append(f"{waiting:,} without an outcome yet")
    return f"{asked:,} cancel requests: {', '.join(parts)}"


def format_seconds(length: float) -> str:
    """Format a duration with two or three digits: ``320 ms``, ``4.2 s``, ``130 s``."""
    return (
        f"{length:.0f} s"
        if length >= 100
        else f"{length:.1f} s"
        if length >= 1
        else f"{length * 1000:.0f} ms"
    )
