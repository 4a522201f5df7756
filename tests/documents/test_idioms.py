"""Documents, docstrings, comments and messages contain none of the listed phrases."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents.idioms import IDIOMS, UNREAD, idioms, texts
from tests.documents.markdown import Page, names, pages
from tests.support.processes import ROOT

CODE = sorted(name for name in names() if name.endswith(".py") and name not in UNREAD)


@pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)
def test_no_document_contains_a_listed_phrase(one: Page) -> None:
    assert idioms(one.prose) == []


def test_no_code_contains_a_listed_phrase() -> None:
    found = [
        f"{name}:{line}: {idiom}"
        for name in CODE
        for line, text in texts(Path(ROOT, name).read_text())
        for idiom in idioms(text)
    ]

    assert found == [], f"tests/documents/idioms.py says what to write instead: {IDIOMS}"


@pytest.mark.parametrize(
    "planted",
    [
        "tried for ever",
        "Nobody waits",
        "a queue of its own",
        "the house",
        "letters of the desk",
        "is told so",
    ],
)
def test_a_listed_phrase_is_noticed(planted: str) -> None:
    assert idioms(planted) != []
    assert [text for _, text in texts(f'"""{planted}."""\nx = 1  # {planted}\n') if idioms(text)] != []


@pytest.mark.parametrize("plain", ["a dead letter", "dead letters", "letters, digits and dots", "anybody"])
def test_the_glossarys_terms_are_not(plain: str) -> None:
    assert idioms(plain) == []
