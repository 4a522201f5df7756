"""The Python blocks of the documents run."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.documents.markdown import Page, pages

PROJECTS = [one for one in pages() if one.files]
"""Pages whose reader writes files; a separate test follows them."""
SPEAKING = [one for one in pages() if one.blocks_of("python") and one not in PROJECTS]


@pytest.mark.parametrize("one", SPEAKING, ids=lambda one: one.name)
def test_the_blocks_of_a_document_run_one_after_the_other(one: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("document")
    for block in one.blocks_of("python"):
        padded = "\n" * block.line + block.text  # so that a traceback has the line of the document
        exec(compile(padded, one.name, "exec"), vars(module))  # noqa: S102 - our own documents


def test_the_readme_is_among_them() -> None:
    assert "README.md" in {one.name for one in SPEAKING}


@pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)
def test_no_code_is_in_a_block_without_a_language(one: Page) -> None:
    hidden = ("$ ", "import ", "from ", "def ", "class ", "@")
    assert [block.line for block in one.blocks_of("") if block.text.lstrip().startswith(hidden)] == []
    assert [block.line for block in one.blocks_of("py", "python3", "pycon")] == []
