"""Reads docker-compose.yml as ``docker compose`` does: variables, merges, and commands as lists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.support.processes import ROOT

FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<more>[^}]*))?\})")


class Missing(Exception):
    """A required variable of the file is not set; the message is the file's."""


@dataclass(frozen=True)
class Service:
    """A service with the environment of its container."""

    name: str
    raw: Mapping[str, Any]
    environment: Mapping[str, str]

    @property
    def command(self) -> list[str]:
        """The command of the container."""
        return [*self.raw.get("entrypoint", []), *self.raw.get("command", [])]

    @property
    def check(self) -> list[str]:
        """The command of the health check."""
        kind, *words = self.raw["healthcheck"]["test"]
        return words if kind == "CMD" else ["sh", "-c", *words]

    @property
    def ours(self) -> bool:
        return "build" in self.raw


@cache
def raw() -> dict[str, Any]:
    """Return the file with its YAML merges resolved, and its variables as they are."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def texts(node: Any) -> Iterator[str]:
    """Yield every text in a part of the file."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)


def services(given: Mapping[str, str]) -> dict[str, Service]:
    """Return all services, with the variables of ``given`` in place of .env.

    :raises Missing: if a ``${NAME:?message}`` is not set, as compose does.
    """
    found = {}
    for name, service in raw()["services"].items():
        filled = _filled(service, given)
        environment = {
            key: str(given[key] if value is None else value)
            for key, value in filled.get("environment", {}).items()
            if value is not None or key in given
        }
        found[name] = Service(name, filled, environment)
    return found


def secrets() -> dict[str, str]:
    """Return the output of ``deploy/secrets.sh``, parsed as compose parses .env."""
    text = subprocess.run(
        ["sh", "deploy/secrets.sh"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def _filled(node: Any, given: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return VARIABLE.sub(lambda match: _value(match, given), node)
    if isinstance(node, Mapping):
        return {key: _filled(value, given) for key, value in node.items()}
    return [_filled(value, given) for value in node] if isinstance(node, list) else node


def _value(match: re.Match[str], given: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    value = given.get(match["name"], "")
    if value or match["how"] is None:
        return value
    if match["how"] == ":?":
        raise Missing(f"required variable {match['name']} is missing a value: {match['more']}")
    return match["more"]
