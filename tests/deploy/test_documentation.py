"""docs/DEPLOYING.md and the units' README match the code."""

from __future__ import annotations

import re

from tests.deploy.compose import raw
from tests.deploy.test_variables import SAFE
from tests.deploy.units import FOLDER, instances
from tests.support.processes import ROOT

DOCUMENT = (ROOT / "docs" / "DEPLOYING.md").read_text()
README = (FOLDER / "README.md").read_text()


def test_its_table_has_every_setting_with_its_default() -> None:
    defaults = re.findall(r"^(ORDERSAGA_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    must = SAFE - {"ORDERSAGA_ENV"}
    rows = [
        f"| `{name}` | {f'`{value}`' if value else ''} | {'yes' if name in must else ''} |"
        for name, value in defaults
    ]
    assert [line for line in DOCUMENT.splitlines() if line.startswith("| `ORDERSAGA_")] == rows


def test_the_services_it_names_are_in_the_compose_file() -> None:
    services = set(raw()["services"])
    named = set(re.findall(r"docker compose (?:run --rm|run --rm -T|exec|exec -T) (\w+)", DOCUMENT))
    assert named == {"manage", "postgres", "inventory"}
    assert named <= services
    for words in re.findall(r"docker compose (?:stop|logs --follow) ([a-z ]+)$", DOCUMENT, re.MULTILINE):
        assert set(words.split()) <= services


def test_the_units_the_readme_names_are_there() -> None:
    there = {path.name for path in FOLDER.iterdir()} | {
        f"ordersaga-pool@{name}" for name in [*instances("ordersaga-pool"), "loyalty"]
    }
    named = set(re.findall(r"ordersaga(?:-[a-z]+(?:@[a-z]+)?|\.target|\.env\.example)", README))
    assert {name if "." in name or "@" in name else f"{name}.service" for name in named} <= there
