"""The table of log events in docs/DEPLOYING.md lists exactly the events of the code."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import ROOT

LISTED = re.compile(r"^\| `(\w+)` \| (?:debug|info|warning|error|critical) \| [A-Z].*\. \|$", re.MULTILINE)


def listed() -> list[str]:
    section = (
        Path(ROOT, "docs/DEPLOYING.md").read_text().partition("### Log events\n")[2].partition("\n## ")[0]
    )
    return LISTED.findall(section)


def emitted() -> Iterator[tuple[Path, ast.Call]]:
    """Yield every log event in the code, with its file."""
    for folder in ("ordersaga", "workers", "webapp"):
        for path in Path(ROOT, folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "LogEvent"
                ):
                    yield path, node


def codes() -> set[str]:
    found = set()
    for path, call in emitted():
        code = call.args[0]
        assert isinstance(code, ast.Constant), f"{path}:{call.lineno}: the code of an event is a literal"
        found.add(str(code.value))
    return found


def test_each_event_code_is_listed_once():
    table = Counter(listed())
    assert [code for code, times in table.items() if times > 1] == []
    assert set(table) == codes()


def test_event_codes_are_snake_case():
    assert [code for code in codes() if not re.fullmatch(r"[a-z]+(_[a-z]+)+", code)] == []
