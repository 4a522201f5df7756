"""The page of failure scenarios lists every scenario that has a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.markdown import page
from tests.support.processes import ROOT

FAILURES = page("docs/FAILURE_SCENARIOS.md")


def test_every_trap_has_its_place_in_order() -> None:
    assert [int(n) for n in re.findall(r"^### (\d+)\. ", FAILURES.text, re.MULTILINE)] == list(range(1, 25))


def test_every_trap_and_scenario_that_is_tested_is_linked() -> None:
    tested = {
        file for folder in ("failures", "scenarios") for file in Path(ROOT, "tests", folder).glob("test_*.py")
    }
    linked = {Path(FAILURES.path.parent, link).resolve() for link in FAILURES.links}

    missing = sorted(file.name for file in tested - linked)
    assert missing == [], "docs/FAILURE_SCENARIOS.md lists every trap and scenario: add a line with a link"


TRAPS = [(name, text) for name, text in FAILURES.sections if re.match(r"\d+\. ", name)]


@pytest.mark.parametrize(("name", "text"), TRAPS, ids=[name.partition(".")[0] for name, _ in TRAPS])
def test_every_trap_has_failure_handling_test_and_figures(name: str, text: str) -> None:
    clauses = ["**Failure**", "**Handling**", "**Test**", "**Measured**"]

    assert [clause for clause in clauses if clause not in text] == []
    assert sorted(clauses, key=text.index) == clauses
    assert re.search(r"\(\.\./tests/[\w/]+\.py\)|`test_\w+\.py::test_\w+`", text), f"{name} names no test"


def test_every_scenario_has_measurements() -> None:
    rows = re.findall(
        r"^\| \[test_\w+\].*$", dict(FAILURES.sections)["Scenarios on real processes"], re.MULTILINE
    )

    assert [row for row in rows if len(row.strip("| ").split(" | ")) != 3] == []
