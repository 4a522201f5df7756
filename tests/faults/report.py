"""Writes the report of a fault run: JSON, a chart over time, and a section of the reports' page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from benchmarks import machine_info

WIDTH, LEFT, RIGHT, TOP, CHART = 860, 56, 16, 60, 190
ROW = 18
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2933 }
.title { font-weight: 600; font-size: 15px } .note { fill: #616e7c }
.open { fill: #2f855a; fill-opacity: .35; stroke: #2f855a }
.load { fill: none; stroke: #2b6cb0; stroke-width: 1.5 }
.fault { fill: #c05621 } .band { fill: #c05621; fill-opacity: .13 }
.axis { stroke: #9aa5b1 } svg { background: #fff }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb } .note { fill: #9aa5b1 } svg { background: #1f2933 }
}
"""
WINDOW = 5
"""The number of samples in a moving average of placed orders per second."""


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """Write ``faults-<seed>.json`` and ``.svg``."""
    name = f"faults-{found['seed']}"
    report = {
        "command": f"make faults MINUTES={found['seconds'] / 60:.0f} SEED={found['seed']}",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": machine_info.commit(),
        "machine": machine_info.machine(),
        "load_after": machine_info.loads(),
        **found,
    }
    folder.mkdir(parents=True, exist_ok=True)
    samples = ",\n  ".join(json.dumps(sample) for sample in report.pop("timeline"))
    text = json.dumps(report, indent=1, ensure_ascii=False).removesuffix("\n}")
    (folder / f"{name}.json").write_text(f'{text},\n "timeline": [\n  {samples}\n ]\n}}\n')
    (folder / f"{name}.svg").write_text(draw(found))


def draw(found: Mapping[str, Any]) -> str:
    """Return a chart: open sagas as an area, placed orders per second as a line, and a row of bars for each
    kind of fault.
    """
    samples = found["timeline"]
    kinds = list(found["kinds"])
    end = max([found["seconds"], *(fault["ended"] for fault in found["faults"])])
    most_open, fastest = max([1, *(s[2] for s in samples)]), max([1.0, *(rate for _, rate in rates(samples))])
    across = (WIDTH - LEFT - RIGHT) / max(end, 1)
    bottom = TOP + CHART
    height = bottom + 34 + ROW * len(kinds) + 8

    def x(seconds: float) -> float:
        return LEFT + seconds * across

    def path(points: Sequence[tuple[float, float]], most: float) -> str:
        return " ".join(f"{x(at):.1f},{bottom - CHART * value / most:.1f}" for at, value in points)

    def width(fault: Mapping[str, float], least: float) -> str:
        return f"{max((fault['ended'] - fault['began']) * across, least):.1f}"

    placed = found["orders"]["placed"]
    note = f"seed {found['seed']}: {placed:,} orders in {end:.0f} s; open sagas up to {most_open:,}"
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>Fault run</title><style>{STYLE}</style>",
        '<text class="title" x="12" y="24">Load, faults and open sagas</text>',
        f'<text class="note" x="12" y="43">{note}</text>',
    ]
    parts += [
        f'<rect class="band" x="{x(f["began"]):.1f}" y="{TOP}" width="{width(f, 1)}" height="{CHART}"/>'
        for f in found["faults"]
    ]
    if samples:
        area = path([(s[0], s[2]) for s in samples], most_open)
        first, last = f"{x(samples[0][0]):.1f},{bottom}", f"{x(samples[-1][0]):.1f},{bottom}"
        parts.append(f'<polygon class="open" points="{first} {area} {last}"/>')
        parts.append(f'<polyline class="load" points="{path(rates(samples), fastest)}"/>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(f'<text x="{LEFT - 6}" y="{TOP + 10}" text-anchor="end">{most_open:,}</text>')
    parts.append(
        f'<text class="note" x="{LEFT + 6}" y="{TOP + 12}">'
        f"open sagas (area); orders placed, up to {fastest:.0f} a second (line)</text>"
    )
    for number in range(5):
        at = end * number / 4
        parts.append(
            f'<text class="note" x="{x(at):.1f}" y="{bottom + 16}" text-anchor="middle">{at:.0f} s</text>'
        )
    for number, kind in enumerate(kinds):
        y = bottom + 30 + ROW * number
        parts.append(f'<text x="{LEFT + 4}" y="{y + 12}">{escape(kind)}</text>')
        parts += [
            f'<rect class="fault" x="{x(f["began"]):.1f}" y="{y + 3}" width="{width(f, 2)}" '
            f'height="{ROW - 7}" rx="2"/>'
            for f in found["faults"]
            if f["kind"] == kind
        ]
    return "\n".join([*parts, "</svg>\n"])


def rates(samples: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Return the placed orders per second, by time."""
    pairs = zip(samples, samples[WINDOW:], strict=False)
    return [
        (later[0], max(0.0, (later[1] - first[1]) / max(later[0] - first[0], 0.1))) for first, later in pairs
    ]


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the reports of a folder, by seed."""
    found = [json.loads(path.read_text()) for path in folder.glob("faults-*.json")]
    return sorted(found, key=lambda report: report["seed"])


def section(folder: Path) -> list[str]:
    """Return the section of the reports' page on fault runs."""
    lines: list[str] = []
    for report in read(folder):
        verdict = "all checks passed" if not report["verdict"] else f"{len(report['verdict'])} checks failed"
        lines += [
            "",
            f"## Faults, seed {report['seed']}",
            "",
            f"![Load, faults and open sagas](faults-{report['seed']}.svg)",
            "",
        ]
        lines += [
            f"`{report['command']}`, commit `{report['commit'][:12]}`, {report['at'][:10]}; {verdict}.",
            "",
        ]
        lines += [
            "| fault | times | lasted s | recovered within s | placed meanwhile | settled meanwhile |",
            "|---|---|---|---|---|---|",
        ]
        for kind, of_it in report["kinds"].items():
            took = of_it["recovery_seconds"]
            cells = [
                kind,
                of_it["times"],
                f"{of_it['seconds']:.0f}",
                f"{took['most']:.1f}" if took else "not recovered",
            ]
            cells += [of_it["placed_meanwhile"], of_it["settled_meanwhile"]]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines
