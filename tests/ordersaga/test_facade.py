"""The package exports what its users need, and the documents import nothing deeper."""

from __future__ import annotations

import re

import pytest

import ordersaga
from tests.documents.markdown import Page, pages

IMPORTED = re.compile(r"^\s*(?:from (ordersaga[\w.]*) import|import (ordersaga[\w.]*))", re.MULTILINE)
ADAPTERS = re.compile(r"ordersaga|ordersaga\.celery\.app|ordersaga\.contrib\.\w+|ordersaga\.testing")


def test_each_exported_name_exists():
    assert len(set(ordersaga.__all__)) == len(ordersaga.__all__)
    assert [name for name in ordersaga.__all__ if not hasattr(ordersaga, name)] == []


def test_public_classes_and_functions_are_exported():
    public = {name for name, value in vars(ordersaga).items() if callable(value) and not name.startswith("_")}
    assert public <= set(ordersaga.__all__)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_documents_import_only_the_public_modules(page: Page):
    modules = {first or second for first, second in IMPORTED.findall(page.text)}
    assert [module for module in modules if not ADAPTERS.fullmatch(module)] == []
