"""Every figure in the documents names the command that measures it.

A figure is a number with a unit, or a ratio in words. Its passage (a paragraph, a list item, a table row with
the paragraph before it) contains the command that measures it, or the test that enforces it (*bound*); or it
is a constant, listed here with its place in the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown_it.token import Token

from tests.documents.commands import TYPED
from tests.documents.markdown import Page, pages
from tests.support.processes import ROOT

NUMBER = r"(?<![\w.,/#-])\d[\d,.]*(?:[–-]\d[\d,.]*)?"
UNIT = r"(?:orders/s|orders a second|ms|s|seconds?|minutes?|min|h|hours?|days?|kB|MB|GB|MiB|GiB|%)"
RATIO = (
    r"(?:twice|(?:two|three|four|five|ten|\d+) times|\w+ hundred times) (?:as|what|more)\b"
    r"|\ba (?:third|quarter) of|\bhalf of (?:all|the|a)\b"
)
FIGURE = re.compile(rf"{NUMBER} ?{UNIT}(?![\w/])|{RATIO}")
MAKES = re.compile(
    r"\bmake (?:bench|demo|faults|test)\b|-m benchmarks\b|manage\.py (?:reconcile|place_orders|seed_orders)\b"
)
"""The commands that print figures."""
MEASURED = "--measured"
"""A page that explains this option may give what each test printed after **Measured**."""

CONSTANTS = {
    ("SECURITY.md", "8 MiB"): ("ordersaga/envelope.py", "MAX_BYTES = 8 * 1024 * 1024"),
    ("SECURITY.md", "2 GiB"): ("ordersaga/celery/topology.py", "QUEUE_BYTES = 2 * 1024**3"),
    ("docs/DEPLOYING.md", "90 s"): ("docker-compose.yml", "stop_grace_period: 90s"),
    ("deploy/systemd/README.md", "90 s"): ("deploy/systemd/ordersaga-pool@.service", "TimeoutStopSec=90"),
    ("docs/FAILURE_SCENARIOS.md", "90 days"): (
        "workers/settings.py",
        "retention: Duration = timedelta(days=90)",
    ),
    ("docs/decisions/pruning.md", "7 days"): ("workers/retention.py", "BROKER_KEEPS = timedelta(days=7)"),
    ("docs/decisions/pruning.md", "1 h"): ("workers/retention.py", "RETRIES = timedelta(hours=1)"),
    ("docs/decisions/pruning.md", "30 min"): ("workers/settings.py", "watchdog_rounds"),
    ("docs/decisions/gathering.md", "100 ms"): ("ordersaga/relay.py", "LINGER = timedelta(milliseconds=100)"),
    ("docs/decisions/gathering.md", "50 ms"): ("ordersaga/relay.py", "QUEUED_LINGER = 0.05"),
    ("docs/decisions/relay.md", "15 ms"): ("ordersaga/relay.py", "REPOLL_DELAYS = (0.003, 0.012)"),
    ("docs/decisions/scans.md", "250 ms"): (
        "ordersaga/sql/outbox.py",
        "HORIZON = \"interval '250 milliseconds'\"",
    ),
    ("docs/decisions/relay.md", "10 s"): ("ordersaga/celery/publisher.py", "CONFIRM_SECONDS = 10.0"),
    ("docs/decisions/relay.md", "1 s"): ("ordersaga/routing_key_backoff.py", "FIRST, CAP = 1.0, 30.0"),
    ("docs/decisions/relay.md", "30 s"): ("ordersaga/routing_key_backoff.py", "FIRST, CAP = 1.0, 30.0"),
    ("docs/decisions/relay.md", "60 s"): ("ordersaga/put_back.py", "ROW_FIRST, ROW_CAP = 1.0, 60.0"),
    ("docs/decisions/held-envelopes.md", "45 s"): (
        "ordersaga/celery/hung_children.py",
        "SILENT_ROUNDS = 15",
    ),
    ("docs/decisions/packs-and-limits.md", "8 MiB"): ("ordersaga/claim.py", "CLAIM_BYTES = 8 * 1024 * 1024"),
    ("docs/decisions/packs-and-limits.md", "1 MiB"): ("ordersaga/envelope.py", "FULL_BYTES = 1024 * 1024"),
    ("docs/decisions/packs-and-limits.md", "3 MiB"): (
        "ordersaga/envelope.py",
        "MAX_SIGNAL_BYTES = 3 * 1024 * 1024",
    ),
    ("docs/FAILURE_SCENARIOS.md", "30 s"): (
        "workers/settings.py",
        "watchdog: Duration = timedelta(seconds=30)",
    ),
    ("docs/FAILURE_SCENARIOS.md", "5 s"): (
        "tests/support/order_factory.py",
        "WATCHDOG = Watchdog(first=timedelta(seconds=scaled(5)))",
    ),
    ("docs/PERFORMANCE.md", "10 %"): ("webapp/ops/demo/runner.py", "10 % declined"),
    ("docs/PERFORMANCE.md", "5 %"): ("webapp/ops/demo/runner.py", "5 % out of stock"),
    ("docs/PERFORMANCE.md", "2 %"): ("webapp/ops/demo/runner.py", "2 % free of charge"),
}
"""Figures that are not measured, by page, each with the file and the expression that define it."""


class Passage(NamedTuple):
    line: int
    text: str
    commands: tuple[str, ...]
    tests: bool


def passages(one: Page) -> Iterator[Passage]:
    """Yield the passages that are read together. The paragraph before a table and its heading belong to each
    of its rows.
    """
    before: tuple[str, ...] = ()
    row: list[Token] | None = None
    head = ""
    in_table = in_head = False
    for token in one.tokens:
        if token.type in {"table_open", "table_close"}:
            in_table = token.type == "table_open"
        elif token.type in {"thead_open", "thead_close"}:
            in_head = token.type == "thead_open"
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close" and row is not None:
            found = _passage(row)
            if in_head:
                before, head = before + found.commands, found.text
            yield found._replace(commands=found.commands + before, text=head + found.text)
            row = None
        elif token.type == "inline" and row is not None:
            row.append(token)
        elif token.type == "inline" and not in_table:
            found = _passage([token])
            before = found.commands
            yield found


def _passage(tokens: list[Token]) -> Passage:
    parts = [
        part for token in tokens for part in [*(token.children or []), Token("text", "", 0, content=" | ")]
    ]
    text = "".join(
        " " if part.type == "softbreak" else part.content
        for part in parts
        if part.type in {"text", "softbreak"}
    )
    spans = [part.content for part in parts if part.type == "code_inline"]
    links = [str(part.attrs.get("href")) for part in parts if part.type == "link_open"]
    commands = tuple(span for span in spans if TYPED.match(span) and MAKES.search(span))
    commands += ("the one of the row before",) if "the same command" in text else ()
    tests = any("tests/" in link for link in links) or any(re.search(r"test_\w+\.py", span) for span in spans)
    return Passage((tokens[0].map or [0])[0] + 1 if tokens else 0, text, commands, tests)


def unsupported_figures(one: Page) -> list[str]:
    """Return the figures that no command, test or constant supports."""
    printed = any(MEASURED in span for span in [*one.spans, *one.commands])
    found = []
    for passage in passages(one):
        if passage.commands or (
            passage.tests and ("bound" in passage.text or (printed and "Measured" in passage.text))
        ):
            continue
        found += [
            f"line {passage.line}: {figure}"
            for figure in FIGURE.findall(passage.text)
            if (one.name, figure) not in CONSTANTS
        ]
    return found


@pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)
def test_every_figure_names_the_command_that_makes_it(one: Page) -> None:
    assert unsupported_figures(one) == []


@pytest.mark.parametrize("figure", CONSTANTS, ids=" ".join)
def test_a_constant_matches_the_code(figure: tuple[str, str]) -> None:
    file, words = CONSTANTS[figure]
    assert words in Path(ROOT, file).read_text()


@pytest.mark.parametrize(
    "planted",
    [
        "It handles 5,000 orders/s.",
        "`make lint` takes 5 s.",
        "* settles in 0.3–0.5 ms",
        "It is three times as quick.",
        "Some hundred times what it was.",
        "`make bench` is elsewhere.\n\nIt takes 3.7 seconds.",
        "| what | how long |\n|---|---|\n| drain | 7 s |",
        "[test](tests/x.py): **Measured** 3.7 s.",
    ],
)
def test_a_figure_without_a_command_is_detected(planted: str) -> None:
    assert len(unsupported_figures(Page(Path(ROOT, "draft.md"), f"{planted}\n"))) == 1


@pytest.mark.parametrize(
    "founded",
    [
        "It handles 5,000 orders/s: `make bench ONLY=drain`.",
        "By `make bench`:\n\n| what | how long |\n|---|---|\n| drain | 7 s |",
        "[test](tests/x.py), *bound*: 120 s.",
        '`make test ARGS="--measured"` prints it.\n\n[test](tests/x.py). **Measured**: 3.7 s.',
    ],
)
def test_a_figure_with_a_command_bound_or_constant_passes(founded: str) -> None:
    assert unsupported_figures(Page(Path(ROOT, "draft.md"), f"{founded}\n")) == []
