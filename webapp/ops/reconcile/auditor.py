"""Survey everything once, read the suspects again after the grace, and name what still stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

from webapp.ops.reconcile import totals
from webapp.ops.reconcile.books import Books
from webapp.ops.reconcile.codes import Report, Violation
from webapp.ops.reconcile.rules import judge
from webapp.ops.reconcile.story import Rows, Story, shape

SHAPES = 50_000
"""How many shapes are remembered; far more than there are, unless much is wrong."""
ROUNDS = 5
"""How often a suspect that keeps changing is read again."""


class Watched(NamedTuple):
    """A suspect younger than the grace: since when it breaks these rules."""

    since: float
    codes: frozenset[str]


Wait = Callable[[float, int], None]
"""Waits so many seconds because of so many suspects."""
Tell = Callable[[str, int, int], None]
"""Hears what is looked at, how many of it have been, and how many there are."""
TOLD = 1_000
"""Orders after which that is told."""


def _wait(seconds: float, suspects: int) -> None:  # noqa: ARG001 - whoever tells people of it needs both
    time.sleep(seconds)


def _nobody(what: str, done: int, of: int) -> None:
    pass


class Auditor:
    """Audits three databases by their URLs (``orders``, ``inventory``, ``payments``)."""

    def __init__(
        self, urls: dict[str, str], grace: timedelta, *, audited: bool = True, wait: Wait = _wait, tell: Tell = _nobody
    ) -> None:
        """Prepare an audit.

        :param grace: how old a disagreement must be to be a violation.
        :param audited: whether an audit trail is kept.
        :param wait: called when suspects are younger than the grace.
        :param tell: called with what has been looked at.
        """
        self._urls, self._grace, self._audited, self._wait, self._tell = urls, grace, audited, wait, tell

    def audit(self) -> Report:
        """Read everything; on settled books this does not wait.

        :raises Unreadable: when a database cannot be read.
        """
        started = time.monotonic()
        report = Report()
        with Books(self._urls, self._grace) as books:
            report.looked_at = totals.looked_at(books)
            suspects = list(self._suspects(self._counted(books.survey(), report.looked_at["orders"])))
            report.warnings.extend(totals.warnings(books))
            for violation in self._totals(books):
                report.add(violation)
        self._inquire(suspects, report)
        report.violations.sort(key=lambda v: (v.code, v.order is None, len(v.order or ""), v.order or "", v.saga or ""))
        report.seconds = time.monotonic() - started
        return report

    def _totals(self, books: Books) -> Iterator[Violation]:
        checks = (
            lambda: totals.skus(books.snapshots["inventory"]),
            lambda: totals.ledger(books.snapshots["payments"]),
            lambda: totals.packs(books),
            lambda: totals.outboxes(books, self._grace),
        )
        for done, check in enumerate(checks):
            self._tell("totals", done, len(checks))
            yield from check()

    def _counted(self, survey: Iterator[Rows], orders: int) -> Iterator[Rows]:
        """Tells how far it is; sagas that have no order, which should not be, come on top."""
        self._tell("orders", 0, orders)
        for done, rows in enumerate(survey, 1):
            yield rows
            if done % TOLD == 0:
                self._tell("orders", done, max(done, orders))

    def _suspects(self, survey: Iterator[Rows]) -> Iterator[str]:
        """The sagas that break a rule. Stories of one shape break the same, so each shape is judged once."""
        verdicts: dict[tuple[object, ...], bool] = {}
        for rows in survey:
            form = shape(rows)
            suspect = verdicts.get(form)
            if suspect is None:
                if len(verdicts) >= SHAPES:
                    verdicts.clear()
                suspect = verdicts[form] = bool(judge(Story(rows), audited=self._audited))
            if suspect:
                yield next(row[0] for row in rows if row is not None)

    def _inquire(self, suspects: list[str], report: Report) -> None:
        """Read suspects again until each is cleared, or stands for as long as the grace."""
        grace = self._grace.total_seconds()
        watched: dict[str, Watched] = {}
        for _ in range(ROUNDS):
            if not suspects:
                return
            before, watched = watched, {}
            with Books(self._urls, self._grace) as books:
                now = time.monotonic()
                longest = 0.0
                for done, rows in enumerate(books.again(suspects)):
                    self._tell("suspects", done, len(suspects))
                    story = Story(rows)
                    findings = judge(story, audited=self._audited)
                    codes = frozenset(finding.code for finding in findings)
                    known = before.get(story.saga)
                    since = known.since if known is not None and codes <= known.codes else now
                    stood = max(story.age, now - since)
                    if stood >= grace:
                        for finding in findings:
                            report.add(story.violation(finding))
                    elif findings:
                        watched[story.saga] = Watched(since, codes)
                        longest = max(longest, grace - stood)
            suspects = sorted(watched)
            if suspects:
                self._wait(longest + 0.05, len(suspects))
        report.moving = len(suspects)
