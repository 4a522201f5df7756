"""The check of promised output detects missing lines."""

from __future__ import annotations

from tests.documents.expected_output import missing_lines
from tests.documents.markdown import Block


def test_missing_output_is_detected() -> None:
    block = Block("console", "$ python ask.py\nann CONFIRMED\n… seats left\nbob …\n", 1)

    assert missing_lines(block, ["noise", "ann CONFIRMED ", "3 seats left", "bob ROLLED_BACK"]) == []
    assert missing_lines(block, ["3 seats left", "ann CONFIRMED", "bob"]) == ["… seats left", "bob …"]


def test_figures_may_differ_from_the_document_but_not_words() -> None:
    block = Block("console", "$ make demo\nconfirmed   815  81.5 %\n", 1)

    assert missing_lines(block, ["confirmed  49  81.7 %"], figures=False) == []
    assert missing_lines(block, ["confirmed  49  81.7 %"]) == ["confirmed   815  81.5 %"]
    assert missing_lines(block, ["denied  815  81.5 %"], figures=False) == ["confirmed   815  81.5 %"]
