"""The figures in the pages match the benchmark reports, which are of one run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.experiments import EXPERIMENTS
from benchmarks.svg import shown
from benchmarks.targets import figure_of, figures
from tests.support.processes import ROOT

FOLDER = ROOT / "docs" / "reports"
REPORTS = report.read(FOLDER)
COMMIT = f"commit {REPORTS['drain']['commit'][:9]}"
BEST, P50 = "plain chain", "latency_p50_ms"


def figure(part: str, series: str, name: str = "orders_per_second") -> float:
    return figure_of(REPORTS, part, series, name)


def whole(value: float) -> str:
    return f"{value:,.0f}"


def against(part: str, end: str = "") -> tuple[str, str]:
    """Return OrderSaga's orders per second, those of the best plain chain, and their ratio."""
    ours, theirs = (
        figure(part, f"OrderSaga{end}"),
        max(figures(REPORTS, part, "orders_per_second", BEST, end)),
    )
    return whole(ours), f"{whole(theirs)} ({shown(ours / theirs)} ×)"


def first_screen() -> list[str]:
    """Return the README's sentence that compares."""
    drained = against("drain")
    ours = whole(figure("latency", "OrderSaga, 20/s", P50))
    chain = whole(min(figures(REPORTS, "latency", P50, BEST, ", 20/s")))
    return [
        f"half of them are confirmed within {ours} ms instead of {chain} ms",
        f"settles **{drained[0]} waiting orders a second**",
        f"the best of four plain Celery chains settles {drained[1]}",
        COMMIT,
    ]


def processes() -> list[str]:
    """Return the rows of one, two and four processes."""
    rows = []
    for number, name in ((1, "1 process"), (2, "2 processes"), (4, "4 processes")):
        drained, placed = (
            figure("processes", f"OrderSaga, {name} a pool, {how}") for how in ("drain", "20 a transaction")
        )
        rows.append(f"| {number} | {whole(drained)} orders/s | {whole(placed)} orders/s |")
    return rows


def performance() -> list[str]:
    """Return the targets as in the reports' page, the share of the audit, growth, and one hot product."""
    page = (FOLDER / "README.md").read_text().splitlines()
    later, drained = (whole(figure("drain", name)) for name in ("OrderSaga, the audit later", "OrderSaga"))
    million, few = (
        whole(figure("growth", f"OrderSaga after {behind}")) for behind in ("1,000,000", "10,000")
    )
    one, many = (
        whole(figure("hot", f"OrderSaga, {products}")) for products in ("1 product", "1,000 products")
    )
    twenty, one_each = (against("end-to-end", f", {n} a transaction") for n in (20, 1))
    median = (
        whole(figure("latency", "OrderSaga, 20/s", P50)),
        whole(min(figures(REPORTS, "latency", P50, BEST, ", 20/s"))),
    )
    return [
        f"twenty to a transaction, it settles {twenty[0]} against {twenty[1]} orders a second",
        f"one to a transaction {one_each[0]} against {one_each[1]}",
        f"half of them are confirmed within {median[0]} ms, the chain's within {median[1]} ms",
        *(line for line in page if line.endswith(("| met |", "| missed |"))),
        f"{later} orders/s instead of {drained}",
        f"{million} orders/s, after ten thousand {few}",
        f"{one} orders/s, with a thousand products {many}",
        COMMIT,
    ]


TOLD = {"README.md": first_screen, "docs/DEPLOYING.md": processes, "docs/PERFORMANCE.md": performance}


@pytest.mark.parametrize("page", TOLD)
def test_pages_quote_the_figures_of_the_reports(page: str) -> None:
    text = " ".join(Path(ROOT, page).read_text().split())
    assert [words for words in TOLD[page]() if words not in text] == []


def test_the_reports_are_of_one_full_run() -> None:
    assert set(REPORTS) == set(EXPERIMENTS)
    for what in ("rounds_wanted", "scale", "machine", "versions", "servers"):
        assert len({json.dumps(part[what]) for part in REPORTS.values()}) == 1, (
            f"{what} differs between the reports"
        )
    assert (
        len({part["commit"] for name, part in REPORTS.items() if not EXPERIMENTS[name].once}) == 1
    )  # counts are not timed
    for name, part in REPORTS.items():
        rounds = 1 if EXPERIMENTS[name].once else part["rounds_wanted"]
        short = [series for series, found in part["series"].items() if len(found["rounds"]) < rounds]
        # The best plain chain is chosen again after each round's drain, so that others may have fewer rounds.
        assert [series for series in short if not series.startswith((BEST, "careful Celery"))] == []


@pytest.mark.parametrize("name", REPORTS)
def test_reported_figures_are_medians_of_the_rounds(name: str) -> None:
    for series, found in REPORTS[name]["series"].items():
        assert found["median"] == report.median(found["rounds"]), series


def test_the_reports_page_is_generated_from_the_reports(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.json"):
        shutil.copy(path, tmp_path)
    report.page(tmp_path)
    assert (tmp_path / "README.md").read_text() == (FOLDER / "README.md").read_text()


def test_charts_show_the_medians() -> None:
    for name, part in REPORTS.items():
        drawn = re.findall(r">([\d.,e+]+)</text>", (FOLDER / f"{name}.svg").read_text())
        assert drawn == [
            shown(found["median"][EXPERIMENTS[name].figure]) for found in part["series"].values()
        ], name
