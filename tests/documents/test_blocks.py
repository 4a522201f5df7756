"""Every block, heading and piece of a document is covered by a check."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.markdown import SHELLS, Page, page, pages
from tests.support.processes import ROOT

CHECKED_LANGUAGES = {
    "python": "run by test_python_blocks.py, or written and run by test_getting_started.py",
    "mermaid": "compared by test_architecture.py",
    "": "a drawing in characters; names in it are those of test_references.py, and code may not hide there",
    **dict.fromkeys(SHELLS, "parsed by test_commands.py"),
}
"""The languages of blocks, and the check of each."""
SINGLE = {
    ("docs/GETTING_STARTED.md", "text"): "compared by test_getting_started.py",
    ("docs/DEPLOYING.md", "text"): "below",
    ("docs/DEPLOYING.md", "nginx"): "below",
}
"""Blocks that are the only ones of their language on their page."""


def unchecked_parts(one: Page) -> list[str]:
    """Return the parts of a page that no check covers."""
    languages = [block.language for block in one.blocks]
    found = [
        f"{block.language}, line {block.line}"
        for block in one.blocks
        if not _is_known(one, block.language, languages)
    ]
    foreign = {"code_block": "an indented block", "html_block": "HTML", "html_inline": "HTML"}
    everywhere = [child for token in one.tokens for child in (token, *(token.children or []))]
    found += [foreign[token.type] for token in everywhere if token.type in foreign]
    words = [child.content for token in one.tokens for child in token.children or [] if child.type == "text"]
    return found + [
        f"a link that is none: {text}" for text in words if re.search(r"\]\[|\]\(|\[[^\]]+\]:", text)
    ]


def _is_known(one: Page, language: str, all_of_them: list[str]) -> bool:
    return language in CHECKED_LANGUAGES or (
        (one.name, language) in SINGLE and all_of_them.count(language) == 1
    )


@pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)
def test_every_block_and_heading_is_checked(one: Page) -> None:
    assert unchecked_parts(one) == []


@pytest.mark.parametrize(
    "planted",
    [
        "```yaml\na: 1\n```",
        "```text\n$ rm\n```",
        "```sql\nSELECT 1\n```",
        "    indented",
        "<br>x",
        "[x][nowhere]",
    ],
)
def test_an_unchecked_block_is_detected(planted: str) -> None:
    assert len(unchecked_parts(Page(Path(ROOT, "draft.md"), f"Words.\n\n{planted}\n"))) == 1


def test_both_proxy_examples_match_the_webs_port_and_headers() -> None:
    deploying = page("docs/DEPLOYING.md")
    [caddy], [nginx] = deploying.blocks_of("text"), deploying.blocks_of("nginx")
    [bind] = re.findall(r'"WEB_BIND", "([\d.:]+)"', Path(ROOT, "deploy/gunicorn.conf.py").read_text())

    assert f"reverse_proxy {bind}\n" in caddy.text
    assert f"proxy_pass http://{bind};" in nginx.text
    assert {"Host $host", "X-Forwarded-Proto $scheme"} == set(
        re.findall(r"proxy_set_header (.*);", nginx.text)
    )
