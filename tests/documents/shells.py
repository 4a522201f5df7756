"""A line of a shell block, taken apart into the commands it runs."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

BETWEEN = frozenset({"|", "||", "&&", ";", "&"})
SETS = re.compile(r"[A-Z_a-z]+=.*", re.DOTALL)


class Command(NamedTuple):
    """One command: the variables set before it, its words, and the line it was written in."""

    sets: tuple[str, ...]
    words: tuple[str, ...]
    line: str


def commands_of(line: str) -> list[Command]:
    """The commands of a line, those inside ``$( )`` too; comments and redirections are left out."""
    inner = re.findall(r"\$\(([^()]+)\)", line)
    lexer = shlex.shlex(re.sub(r"\$\([^()]+\)", "SUBSTITUTED", line), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word in BETWEEN:
            parts.append([])
        else:
            parts[-1].append(word)
    found = [_command(part, line) for part in parts if part]
    return [command for command in found if command.words] + [c for text in inner for c in commands_of(text)]


def _command(part: list[str], line: str) -> Command:
    words, sets = _without_redirections(part), []
    while words and (SETS.fullmatch(words[0]) or words[0] in {"env", "exec", "nohup", "sudo", "time"}):
        word = words.pop(0)
        if "=" in word:
            sets.append(word)
    return Command(tuple(sets), tuple(words), line)


def _without_redirections(part: list[str]) -> list[str]:
    words: list[str] = []
    rest = iter(part)
    for word in rest:
        if set(word) <= set("<>&"):
            next(rest, None)
            if words and words[-1] == "2":
                words.pop()
        else:
            words.append(word)
    return words
