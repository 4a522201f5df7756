"""Splits a line of a shell block into its commands."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

BETWEEN = frozenset({"|", "||", "&&", ";", "&", "(", ")", ");", ")|"})
SETS = re.compile(r"[A-Z_a-z…]+=.*", re.DOTALL)
PREFIXES = frozenset({"env", "exec", "export", "nohup", "sudo", "time"})
REDIRECTION = re.compile(r"(?<!\S)\d?(?:>>?|<)(?:&\d|\s*[^\s|&;]+)")


class Command(NamedTuple):
    """A command: the variables before it, its words, and its line."""

    sets: tuple[str, ...]
    words: tuple[str, ...]
    line: str


def commands_of(line: str) -> list[Command]:
    """Return the commands of a line, including those in ``$( )``, without comments and redirections."""
    inner = re.findall(r"\$\(([^()]+)\)", line)
    plain = REDIRECTION.sub("", re.sub(r"\$\([^()]+\)", "SUBSTITUTED", line))
    lexer = shlex.shlex(plain, posix=True, punctuation_chars="|&;()")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word in BETWEEN:
            parts.append([])
        else:
            parts[-1].append(word)
    found = [_command(part, line) for part in parts if part]
    return [command for command in found if command.words] + [c for text in inner for c in commands_of(text)]


def _command(words: list[str], line: str) -> Command:
    sets = []
    while words and (SETS.fullmatch(words[0]) or words[0] in PREFIXES):
        word = words.pop(0)
        if "=" in word:
            sets.append(word)
        elif word == "sudo" and words[:1] == ["-u"]:
            words = words[2:]
    return Command(tuple(sets), tuple(words), line)
