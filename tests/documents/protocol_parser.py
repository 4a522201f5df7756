"""Parses docs/PROTOCOL.md: its rules, and the transitions in its diagrams."""

from __future__ import annotations

import re

from tests.documents.markdown import page

PAGE = "docs/PROTOCOL.md"
RULE = re.compile(r"^## Rule (\d+): ", re.MULTILINE)
MOVE = re.compile(r"^ *(\w+) --> (\w+)", re.MULTILINE)
Moves = set[tuple[str, str]]


def rules() -> list[int]:
    """Return the numbers of the rules, in order."""
    return [int(number) for number in RULE.findall(page(PAGE).text)]


def moves() -> tuple[Moves, Moves]:
    """Return the transitions of a saga's status, and of a journal row's state."""
    saga, journal = (set(MOVE.findall(block.text)) for block in page(PAGE).blocks_of("mermaid"))
    return saga, journal
