"""Parses the documents: headings, links, code blocks, inline code."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.processes import ROOT

SHELLS = frozenset({"console", "sh", "bash", "shell"})


class Block(NamedTuple):
    """A fenced block; ``line`` is the line of its fence, from 1."""

    language: str
    text: str
    line: int


class Page:
    """A Markdown file."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        """:param text: the content of a draft that is not a file."""
        self.path, self.name = path, str(path.relative_to(ROOT))
        self.text = path.read_text() if text is None else text

    @cached_property
    def tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable("table").parse(self.text)

    @cached_property
    def blocks(self) -> list[Block]:
        return [
            Block(t.info.split(" ")[0], t.content, (t.map or [0])[0] + 1)
            for t in self.tokens
            if t.type == "fence"
        ]

    def blocks_of(self, *languages: str) -> list[Block]:
        return [block for block in self.blocks if block.language in languages]

    @cached_property
    def links(self) -> list[str]:
        """The targets of its links and pictures, as written."""
        inline = [child for token in self.tokens for child in token.children or []]
        return [
            str(t.attrs.get("href") or t.attrs.get("src")) for t in inline if t.type in {"link_open", "image"}
        ]

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors that GitHub gives its headings; a repeated heading gets ``-1``."""
        seen: Counter[str] = Counter()
        found = set()
        for before, token in zip(self.tokens, self.tokens[1:], strict=False):
            if before.type == "heading_open":
                words = "".join(t.content for t in token.children or [] if t.type in {"text", "code_inline"})
                slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
                found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
                seen[slug] += 1
        return found

    @cached_property
    def sections(self) -> list[tuple[str, str]]:
        """The headings below the title, with the text of each section."""
        parts = re.split(r"^#{2,} (.+)\n", self.text, flags=re.MULTILINE)[1:]
        return list(zip(parts[::2], parts[1::2], strict=True))

    @cached_property
    def spans(self) -> list[str]:
        """The texts of inline code."""
        return [t.content for token in self.tokens for t in token.children or [] if t.type == "code_inline"]

    @cached_property
    def prose(self) -> str:
        """The text without Python blocks, which are run instead."""
        fences = [t.content for t in self.tokens if t.type == "fence" and t.info.split(" ")[0] != "python"]
        return "\n".join([*(t.content for t in self.tokens if t.type == "inline"), *fences])

    @cached_property
    def files(self) -> dict[str, str]:
        """The files that a reader is asked to write: Python blocks that begin with ``# name.py``."""
        named = [(re.match(r"# (\w+\.py)\n", block.text), block.text) for block in self.blocks_of("python")]
        return {match[1]: text for match, text in named if match}

    @cached_property
    def commands(self) -> list[str]:
        """The lines of its shell blocks that a reader types: those after ``$``, or all if no line has one."""
        found = []
        for block in self.blocks_of(*SHELLS):
            lines = re.sub(r"\\\n|(?<= do)\n +", " ", block.text).splitlines()
            typed = [line[2:] for line in lines if line.startswith("$ ")]
            found += typed or [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        return found


@cache
def pages() -> list[Page]:
    """Return every document of the project."""
    return [Page(Path(ROOT, name)) for name in sorted(names()) if name.endswith(".md")]


@cache
def page(name: str) -> Page:
    return next(found for found in pages() if found.name == name)


@cache
def names() -> set[str]:
    """Return every file and folder of the project, without environments and build output."""
    made = {"build", "dist", "staticfiles", "ordersaga.egg-info"}
    top = [
        entry
        for entry in ROOT.iterdir()
        if entry.is_file() or not (entry.name.startswith(".") or entry.name in made)
    ]
    found = {below for entry in top for below in (entry, *entry.rglob("*"))}
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}
