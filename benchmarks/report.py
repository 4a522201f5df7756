"""Writes measurements as JSON and SVG under ``docs/reports``, and the page that shows them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.experiments import EXPERIMENTS, Experiment
from benchmarks.measuring import Figures
from benchmarks.svg import Bar, draw, shown
from benchmarks.targets import EXPECTATIONS
from tests.faults import report as faults

Series = Mapping[str, Sequence[Figures]]
"""Each round's figures by series name."""


def median(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure over the rounds."""
    first = rounds[0]
    return {
        name: median([figures[name] for figures in rounds])
        if isinstance(value, dict)
        else round(statistics.median(float(figures.get(name) or 0) for figures in rounds), 4)
        for name, value in first.items()
    }


def write(folder: Path, experiment: Experiment, series: Series, context: Mapping[str, Any]) -> None:
    """Write the JSON file and the picture of one part."""
    report = {
        "part": experiment.name,
        "about": experiment.about,
        "command": f"make bench ONLY={experiment.name}",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **context,
        "series": {
            name: {"median": median(rounds), "rounds": list(rounds)} for name, rounds in series.items()
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{experiment.name}.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    bars = []
    for name, rounds in series.items():
        values = [figures[experiment.figure] for figures in rounds]
        bars.append(
            Bar(name, min(values), statistics.median(values), max(values), name.startswith("OrderSaga"))
        )
    most = max(map(len, series.values()))
    measured = "one round" if most == 1 else f"median and range of {most} rounds"
    note = f"{experiment.unit}; {measured}; {report['command']}"
    (folder / f"{experiment.name}.svg").write_text(draw(experiment.about, note, bars))


def read(folder: Path) -> dict[str, Any]:
    """The reports of the folder by part name."""
    paths = {name: folder / f"{name}.json" for name in EXPERIMENTS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def page(folder: Path) -> None:
    """Write the folder's ``README.md``: the targets, then the table and picture of each part."""
    parts = read(folder)
    lines = [
        "# Measurements",
        "",
        "`make bench` and `make faults` generate this page from the JSON files in this folder.",
        "A figure is the median of the rounds; the pictures also show their range.",
        "",
    ]
    expected = []
    for expectation in EXPECTATIONS:
        if (found := expectation.measure(parts)) is not None:
            met = "met" if expectation.met(found) else "missed"
            expected.append(f"| {expectation.text} | {shown(found)} {expectation.unit} | {met} |")
    lines += ["| expected | measured | |", "|---|---|---|", *expected] if expected else []
    for name, part in parts.items():
        lines += ["", f"## {part['about']}", "", f"![{part['about']}]({name}.svg)", ""]
        when, cores = part["at"][:10], part["machine"]["cores"]
        lines += [f"`{part['command']}`, commit `{part['commit'][:12]}`, {when}, {cores} cores.", ""]
        lines += _table(part["series"])
    lines += faults.section(folder)
    (folder / "README.md").write_text("\n".join(lines) + "\n")


def _table(series: Mapping[str, Any]) -> list[str]:
    medians = {name: found["median"] for name, found in series.items()}
    flat = {name: {**figures, **_cpu(figures)} for name, figures in medians.items()}
    columns = [key for key in next(iter(flat.values())) if key != "cpu_seconds_per_1000_orders"]
    head = [column.replace("_", " ") for column in columns]
    rows = [f"| | {' | '.join(head)} |", f"|---|{'---|' * len(columns)}"]
    for name, figures in flat.items():
        rows.append(f"| {name} | {' | '.join(shown(figures[c]) if c in figures else '' for c in columns)} |")
    return rows


def _cpu(figures: Figures) -> Figures:
    used = figures.get("cpu_seconds_per_1000_orders")
    return {"CPU seconds per 1000 orders": used["all"]} if used else {}
