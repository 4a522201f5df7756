"""What the pages tell of the bench is what its reports hold, and the reports are of one run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.expected import EXPECTATIONS
from benchmarks.parts import PARTS
from benchmarks.picture import shown
from tests.support.processes import ROOT

FOLDER = ROOT / "docs" / "reports"
REPORTS = report.read(FOLDER)
BEST, P50 = "plain chain", "latency_p50_ms"


def figure(part: str, series: str, name: str = "orders_per_second") -> float:
    return float(REPORTS[part]["series"][series]["median"][name])


def best(part: str, end: str = "", name: str = "orders_per_second", choose: Callable[..., float] = max) -> float:
    """Of the plain chains."""
    return choose(figure(part, s, name) for s in REPORTS[part]["series"] if s.startswith(BEST) and s.endswith(end))


def whole(value: float) -> str:
    return f"{value:,.0f}"


def against(part: str, end: str = "") -> tuple[str, str]:
    """OrderSaga's orders a second, and the best plain chain's with how many times that is."""
    ours, theirs = figure(part, f"OrderSaga{end}"), best(part, end)
    return whole(ours), f"{whole(theirs)} ({shown(ours / theirs)} ×)"


def first_screen() -> list[str]:
    """The README's sentences that compare."""
    drained, twenty, one = (
        against("drain"),
        against("end-to-end", ", 20 a transaction"),
        against("end-to-end", ", 1 a transaction"),
    )
    median = whole(figure("latency", "OrderSaga, 20/s", P50)), whole(best("latency", ", 20/s", P50, min))
    return [
        f"settles **{drained[0]} waiting orders a second**",
        f"the best of four plain Celery chains, which have neither, {drained[1]}.",
        f"twenty to a transaction, {twenty[0]} against {twenty[1]}",
        f"one to a transaction {one[0]} against {one[1]}",
        f"half of them are confirmed within {median[0]} ms, the chain's within {median[1]} ms",
        f"commit {REPORTS['drain']['commit'][:9]}",
    ]


def processes() -> list[str]:
    """The rows of one, two and four processes."""
    rows = []
    for number, name in ((1, "1 process"), (2, "2 processes"), (4, "4 processes")):
        drained, placed = (figure("processes", f"OrderSaga, {name} a pool, {how}") for how in ("drain", "20 a transaction"))
        rows.append(f"| {number} | {whole(drained)} orders/s | {whole(placed)} orders/s |")
    return rows


def expectations() -> list[str]:
    """The rows of what was expected."""
    found = [(one, one.measure(REPORTS)) for one in EXPECTATIONS]
    return [
        f"| {one.text} | {shown(value)} {one.unit} | {'met' if one.met(value) else 'missed'} |"
        for one, value in found
        if value is not None
    ]


def audit() -> list[str]:
    """What the drain does without the audit's pool."""
    return [f"{whole(figure('drain', 'OrderSaga, the audit later'))} orders/s instead of {whole(figure('drain', 'OrderSaga'))}"]


TOLD = {
    "README.md": first_screen,
    "docs/DEPLOYING.md": processes,
    "docs/PERFORMANCE.md": lambda: [*expectations(), *audit(), f"commit {REPORTS['drain']['commit'][:9]}"],
}


@pytest.mark.parametrize("page", TOLD)
def test_pages_tell_what_the_reports_hold(page: str) -> None:
    text = " ".join(Path(ROOT, page).read_text().split())
    assert [words for words in TOLD[page]() if words not in text] == []


def test_the_reports_are_of_one_run_of_everything() -> None:
    assert set(REPORTS) == set(PARTS)
    for what in ("commit", "rounds_wanted", "scale", "machine", "versions", "servers"):
        timed = [
            part[what] for name, part in REPORTS.items() if what != "commit" or not PARTS[name].once
        ]  # not what is counted
        assert len({json.dumps(value) for value in timed}) == 1, f"{what} differs between the reports"
    for name, part in REPORTS.items():
        rounds = 1 if PARTS[name].once else part["rounds_wanted"]
        short = [series for series, found in part["series"].items() if len(found["rounds"]) < rounds]
        # the best plain chain is chosen anew after each round's drain, so that others may have fewer
        assert [series for series in short if not series.startswith((BEST, "careful Celery"))] == []


@pytest.mark.parametrize("name", REPORTS)
def test_what_is_reported_is_the_median_of_the_rounds(name: str) -> None:
    for series, found in REPORTS[name]["series"].items():
        assert found["median"] == _numbers(report.median(found["rounds"])), series


def test_the_reports_page_is_written_from_them(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.json"):
        shutil.copy(path, tmp_path)
    report.page(tmp_path)
    assert (tmp_path / "README.md").read_text() == (FOLDER / "README.md").read_text()


def test_pictures_show_the_medians() -> None:
    for name, part in REPORTS.items():
        drawn = re.findall(r">([\d.,e+]+)</text>", (FOLDER / f"{name}.svg").read_text())
        assert drawn == [shown(found["median"][PARTS[name].figure]) for found in part["series"].values()], name


def _numbers(figures: Any) -> Any:
    return json.loads(json.dumps(figures))
