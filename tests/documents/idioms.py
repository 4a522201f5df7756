"""Phrases that need two readings, each with what to write instead: the one list of them.

They are sought in documents, docstrings, comments and messages, not in code.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

IDIOMS = {
    r"for ever\b": "without limit, until it succeeds",
    r"anew\b": "again, new",
    r"be it\b": "whether … or",
    r"(?:nobody|somebody|whoever)\b": "name the component or the person",
    r"so (?:many|much) (?:as|of|that)?\b": "state the number or the limit",
    r"(?:is|are|was|were|be|been) told\b": "receives, is informed, is logged",
    r"(?:say|says|said|saying) (?:it )?again\b": "re-send, repeat",
    r"that which\b": "what",
    r"of (?:its|their|one's|a test's) own\b": "separate, private",
    r"(?:a|the|this|whole|our) house\b": "installation, system, project",
    r"(?:a|the) theatre\b": "in-process run",
    r"parcels?\b": "envelope",
    r"turn(?:s|ed)? (?:round|back)\b": "roll back",
    r"(?<!dead )(?<!dead-)letters?\b(?!,? (?:and |or )?digit)": "message, dead letter",
    r"unruly\b": "misbehaving, faulty",
    r"(?:is|are) none of\b": "does not belong to",
    r"by chance\b": "at random",
}
"""Regular expressions that begin at a word's beginning, whatever its case."""

UNREAD = frozenset({"tests/documents/idioms.py", "tests/documents/test_idioms.py"})
"""Files that quote the phrases."""

_WORDS = re.compile(rf"\b(?:{'|'.join(f'(?:{idiom})' for idiom in IDIOMS)})", re.IGNORECASE)


def idioms(text: str) -> list[str]:
    """The phrases of the list that a text contains."""
    return [found.group().lower() for found in _WORDS.finditer(" ".join(text.split()))]


def texts(code: str) -> Iterator[tuple[int, str]]:
    """Line and text of everything in Python code that people read: docstrings, comments, messages."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
