"""Every link of the documents has a target."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.documents.markdown import Page, names, page, pages
from tests.support.processes import ROOT


def missing(one: Page) -> list[str]:
    """Return links without a target; links to other sites are not followed."""
    return [link for link in one.links if not urlsplit(link).scheme and not _leads_somewhere(one, link)]


def _leads_somewhere(one: Page, link: str) -> bool:
    parts = urlsplit(link)
    target = Path(one.path.parent, unquote(parts.path)).resolve() if parts.path else one.path
    if parts.path and (not target.is_relative_to(ROOT) or str(target.relative_to(ROOT)) not in names()):
        return False
    if not parts.fragment or target.suffix != ".md":
        return not parts.fragment  # anchors in other kinds of files are not checked
    pointed_at = one if target == one.path else page(str(target.relative_to(ROOT)))
    return parts.fragment in pointed_at.anchors


@pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)
def test_every_link_has_a_target(one: Page) -> None:
    assert missing(one) == []


def test_a_broken_link_is_detected() -> None:
    good = "[a](GLOSSARY.md) [b](GLOSSARY.md#glossary) [c](https://example.org/x) [d](#one-thing-two)"
    good += " [e](../tests)"
    bad = "[f](GLOSSAR.md) [g](GLOSSARY.md#nothing) [h](../../outside) ![i](picture.svg) [j](#two)"
    bad += " [k](../.run) [l](../README#L3)"
    draft = Page(Path(ROOT, "docs", "draft.md"), f"# One thing: `two`\n{good}\n\n{bad}\n")

    assert missing(draft) == [
        "GLOSSAR.md",
        "GLOSSARY.md#nothing",
        "../../outside",
        "picture.svg",
        "#two",
        "../.run",
        "../README#L3",
    ]
