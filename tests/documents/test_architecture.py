"""The diagrams and lists of the architecture page match the code: choreography, packages, dependencies."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from ordersaga.diagram import draw
from tests.documents.markdown import names, page, pages
from tests.support.processes import ROOT
from workers.choreography import choreography

UNDRAWN = {"docs", "examples"}


def test_the_choreography_diagram_is_current() -> None:
    blocks = [(one.name, block.text.strip()) for one in pages() for block in one.blocks_of("mermaid")]
    drawings = {name: text for name, text in blocks if text.startswith("flowchart")}

    assert drawings == {"docs/ARCHITECTURE.md": draw(choreography(), "mermaid")}, (
        "paste what `manage.py choreography --format mermaid` prints"
    )


def test_the_package_map_is_complete() -> None:
    [rooms] = [block.text for block in page("docs/ARCHITECTURE.md").blocks_of("")]
    drawn = set(re.findall(r"[\w./]+", rooms))
    engine = {path.name for path in Path(ROOT, "ordersaga").glob("[!_]*.py")}
    inner = {f"{path.parent.name}/" for path in Path(ROOT, "ordersaga").glob("*/__init__.py")}
    apps = {path.parent.name for path in Path(ROOT, "webapp").glob("*/apps.py")}
    houses = {
        f"{name}/"
        for name in names()
        if "/" not in name and Path(ROOT, name).is_dir() and name not in UNDRAWN
    }

    assert engine | inner | apps | houses <= drawn


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads(Path(ROOT, "pyproject.toml").read_text())["project"]
    declared = [
        *project["dependencies"],
        *(one for group in project["optional-dependencies"].values() for one in group),
    ]
    packages = {re.split(r"[\[<>=]", one)[0] for one in declared} - {project["name"]}
    table = page("docs/decisions/dependencies.md").text
    given = {
        name for first in re.findall(r"^\| ([\w, -]+) \|", table, re.MULTILINE) for name in first.split(", ")
    } - {"package"}

    assert given == packages
