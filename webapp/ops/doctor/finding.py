"""What the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    :ivar code: its name, stable: scripts may rely on it.
    :ivar level: an ``error`` makes the house wrong, or not work; a ``warning`` waits for a person.
    :ivar where: which server, database, role or queue.
    :ivar evidence: what was read there.
    :ivar remedy: what to do.
    """

    code: str
    level: Literal["error", "warning"]
    where: str
    what: str
    evidence: str
    remedy: str


def error(code: str, where: str, what: str, evidence: str, remedy: str) -> Finding:
    """The house is wrong, or does not work."""
    return Finding(code, "error", where, what, evidence, remedy)


def warning(code: str, where: str, what: str, evidence: str, remedy: str) -> Finding:
    """A person should look."""
    return Finding(code, "warning", where, what, evidence, remedy)
