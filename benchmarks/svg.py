"""Draws bar charts as SVG: a bar for the median, and a line from the minimum to the maximum."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, LABEL, ROW, TOP = 860, 250, 26, 58
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2933 }
.title { font-weight: 600; font-size: 15px } .note { fill: #616e7c }
.ours { fill: #2f855a } .theirs { fill: #9aa5b1 }
.range { stroke: #1f2933; stroke-width: 1.5 } svg { background: #fff }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb } .note { fill: #9aa5b1 } .range { stroke: #e4e7eb }
  .theirs { fill: #616e7c } .ours { fill: #48bb78 }
}
"""


class Bar(NamedTuple):
    """One row; ``ours`` marks OrderSaga."""

    label: str
    least: float
    median: float
    most: float
    ours: bool


def draw(title: str, note: str, bars: Sequence[Bar]) -> str:
    """Return an SVG that follows the reader's light or dark colour scheme."""
    scale = (WIDTH - LABEL - 90) / max(bar.most for bar in bars)
    height = TOP + ROW * len(bars) + 14
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    heading = f'<text class="title" x="12" y="24">{escape(title)}</text>'
    heading += f'<text class="note" x="12" y="43">{escape(note)}</text>'
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        heading,
    ]
    for number, bar in enumerate(bars):
        y = TOP + ROW * number
        middle = y + ROW / 2 - 3
        rows.append(f'<text x="{LABEL - 8}" y="{middle + 5}" text-anchor="end">{escape(bar.label)}</text>')
        kind = "ours" if bar.ours else "theirs"
        width = max(bar.median * scale, 1)
        rows.append(
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{width:.1f}" height="{ROW - 8}" rx="2"/>'
        )
        if bar.most > bar.least:
            left, right = LABEL + bar.least * scale, LABEL + bar.most * scale
            rows.append(f'<line class="range" x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}"/>')
        end = LABEL + max(bar.median, bar.most) * scale
        rows.append(f'<text x="{end + 8:.1f}" y="{middle + 5}">{shown(bar.median)}</text>')
    return "\n".join([*rows, "</svg>\n"])


def shown(value: float) -> str:
    """Format a figure with three significant digits, or whole from 100."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
