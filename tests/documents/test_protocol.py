"""Every rule of the protocol that code or documents cite is in docs/PROTOCOL.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.markdown import Page, pages
from tests.documents.protocol_parser import PAGE, rules
from tests.support.processes import ROOT

CITED = re.compile(r"\brules? (\d+(?:(?:, | and | to )\d+)*)", re.IGNORECASE)
LINK = re.compile(r"\[rules? \d+\]\((?:docs/|../)?PROTOCOL\.md#rule-\d+-[\w-]+\)")
FOLDERS = ("ordersaga", "workers", "webapp", "tests", "benchmarks", "examples")


def cited(text: str) -> set[int]:
    """Return the numbers of all rules that a text cites; of a range, its ends."""
    return {int(number) for citation in CITED.findall(text) for number in re.findall(r"\d+", citation)}


def sources() -> dict[str, str]:
    found = (
        path for folder in FOLDERS for kind in ("*.py", "*.sql") for path in Path(ROOT, folder).rglob(kind)
    )
    return {str(path.relative_to(ROOT)): path.read_text() for path in found if path != Path(__file__)}


def test_the_rules_are_numbered_from_one() -> None:
    assert rules() == list(range(1, len(rules()) + 1))
    assert len(rules()) == 12


def test_code_cites_existing_rules_with_the_document() -> None:
    citing = {name: text for name, text in sources().items() if cited(text)}
    assert citing, "nothing cites a rule"
    assert {
        name: sorted(cited(text) - set(rules()))
        for name, text in citing.items()
        if cited(text) - set(rules())
    } == {}
    assert [name for name, text in citing.items() if PAGE not in text] == []


@pytest.mark.parametrize("one", [one for one in pages() if one.name != PAGE], ids=lambda one: one.name)
def test_documents_link_to_the_rules_they_cite(one: Page) -> None:
    assert cited(LINK.sub("", one.text)) == set()


def test_a_citation_of_an_unknown_rule_is_detected() -> None:
    assert cited("as Rule 3 demands, and rules 7, 8 and 99 to 101") == {3, 7, 8, 99, 101}
    assert cited(LINK.sub("", "[rule 8](PROTOCOL.md#rule-8-a-further-refusal) and rule 9")) == {9}
