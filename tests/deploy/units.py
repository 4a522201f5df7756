"""Reads the units under deploy/systemd as systemd does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from tests.support.processes import ROOT

FOLDER = ROOT / "deploy" / "systemd"
HOME = "/opt/ordersaga"
PROGRAMS = f"{HOME}/venv/bin/"


class Unit:
    """A unit, or an instance of a template."""

    def __init__(self, path: Path, instance: str = "") -> None:
        self.path, self.instance = path, instance
        self.name = path.name.replace("@.", f"@{instance}.")

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def settings(self) -> dict[str, list[str]]:
        """Every ``Key=value`` of all sections; a key may occur several times."""
        found: dict[str, list[str]] = {}
        for line in self.path.read_text().splitlines():
            if line and line[0] not in "#;[":
                key, _, value = line.partition("=")
                found.setdefault(key, []).append(self._specified(value))
        return found

    def one(self, key: str) -> str:
        [value] = self.settings[key]
        return value

    @property
    def environment(self) -> dict[str, str]:
        """The environment in the unit itself."""
        pairs = [word for line in self.settings.get("Environment", []) for word in shlex.split(line)]
        return dict(pair.split("=", 1) for pair in pairs)

    def command(self, environment: Mapping[str, str]) -> list[str]:
        """The words of ExecStart."""
        words = shlex.split(self.one("ExecStart"))
        return [re.sub(r"\$\{(\w+)\}", lambda match: environment.get(match[1], ""), word) for word in words]

    def _specified(self, text: str) -> str:
        return re.sub("%(.)", lambda match: {"%": "%", "i": self.instance}[match[1]], text)


def units() -> list[Unit]:
    """Return every service; the template once for each instance that the target wants."""
    found = []
    for path in sorted(FOLDER.glob("*.service")):
        if "@" in path.name:
            found += [Unit(path, name) for name in instances(path.name.partition("@")[0])]
        else:
            found.append(Unit(path))
    return found


def instances(template: str) -> list[str]:
    target = (FOLDER / "ordersaga.target").read_text()
    return re.findall(rf"{template}@(\w+)\.service", target)


def example() -> dict[str, str]:
    """Return the variables of the environment file's example, including commented ones."""
    text = (FOLDER / "ordersaga.env.example").read_text()
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE))
