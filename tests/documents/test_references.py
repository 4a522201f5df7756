"""Every file, test and signal that a document names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from tests.documents.markdown import Page, names, pages
from tests.support.processes import ROOT

FILE = re.compile(
    r"(?<![\w./:@-])((?:[\w.*-]+/)*(?:[\w.*-]+\.(?:py|sql|md|toml|yml|txt|json|service|target|csv|sh|conf|svg)|[\w.*-]*\.env\.example))\b(?!\.\w)(?:::(\w+))?"
)
FOLDER = re.compile(r"(?:ordersaga|workers|webapp|tests|benchmarks|docs|deploy|examples)/[\w/-]*")
"""Matches a folder of the project in inline code."""
MADE = frozenset({".env", "report.json", "CANCEL.json"})


@cache
def functions(path: str) -> frozenset[str]:
    """Return the functions and methods that a Python file defines."""
    tree = ast.parse(Path(ROOT, path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@cache
def found(name: str) -> list[str]:
    """Return the files of the project that a name may mean, by whole paths or their ends."""
    pattern = name.removeprefix("./")
    return [path for path in names() if PurePosixPath(path).match(pattern)]


def wrong(one: Page) -> list[str]:
    """Return the names in a document that mean nothing."""
    faults = [span for span in one.spans if FOLDER.fullmatch(span) and not found(span.rstrip("/"))]
    for name, test in FILE.findall(one.prose):
        if name in one.files or name in MADE:
            continue
        beside = Path(one.path.parent, name).resolve()
        files = (
            [str(beside.relative_to(ROOT))]
            if beside.is_relative_to(ROOT) and beside.exists()
            else found(name)
        )
        if not files:
            faults.append(name)
        elif test and not any(test in functions(file) for file in files):
            faults.append(f"{name}::{test}")
    return faults


@pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)
def test_every_named_file_and_test_exists(one: Page) -> None:
    assert wrong(one) == []


def test_an_unknown_name_is_detected() -> None:
    good = "forward.py, tests/failures/test_trap_*.py, [x](../ordersaga/saga.py),"
    good += " `tests/ordersaga/test_relay.py::test_a_crash_after_the_confirm_publishes_twice`"
    text = f"{good} `ordersaga/sage.py`, ../saga.py and"
    text += " `test_trap_06_lost_update.py::test_nothing_of_the_kind` `webapp/pos`"

    assert wrong(Page(Path(ROOT, "docs", "draft.md"), text)) == [
        "webapp/pos",
        "ordersaga/sage.py",
        "../saga.py",
        "test_trap_06_lost_update.py::test_nothing_of_the_kind",
    ]
