"""Compares the output that a document promises with the real output."""

from __future__ import annotations

import fnmatch
import re

from tests.documents.markdown import Block


def missing_lines(block: Block, output: list[str], *, figures: bool = True) -> list[str]:
    """Return the promised lines of a block that are missing from the output, in order; … matches anything.

    :param figures: whether figures must be equal too.
    """
    rest = iter(_plain(line, figures) for line in output)
    promised = [line for line in block.text.splitlines() if not line.startswith("$ ")]
    return [
        line
        for line in promised
        if not any(fnmatch.fnmatchcase(real, _pattern(_plain(line, figures))) for real in rest)
    ]


def _plain(line: str, figures: bool) -> str:
    return line.strip() if figures else re.sub(r"\s+", " ", re.sub(r"\d[\d,.]*", "0", line)).strip()


def _pattern(line: str) -> str:
    return re.sub(r"([\[?*])", r"[\1]", line).replace("… ", "*").replace(" …", "*").replace("…", "*")
