"""Survey all sagas once, read suspects again after the grace, and report violations that remain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

from webapp.ops.reconcile import totals
from webapp.ops.reconcile.audit_lag import AuditQueue, PendingEvents
from webapp.ops.reconcile.codes import INCOMPLETE, Finding, Report, Violation
from webapp.ops.reconcile.rules import find_broken_rules
from webapp.ops.reconcile.saga_facts import Rows, SagaFacts, shape_of
from webapp.ops.reconcile.snapshots import Snapshots

MAX_SHAPES = 50_000
"""The most shapes in the cache; there are far fewer unless many rules are broken."""
MAX_ROUNDS = 5
"""How often a suspect that changes is read again."""
SHORT_DELAY = 0.05
"""Seconds until an audit trail is read again whose missing events were not looked for before."""


class Suspect(NamedTuple):
    """A saga that breaks rules.

    :ivar since: when it was first found to break ``codes``.
    :ivar unowed: when its missing audit events were first found in no outbox.
    """

    since: float
    codes: frozenset[str]
    unowed: float | None = None


class Verdict(NamedTuple):
    """The result of reading a suspect again.

    :ivar left: seconds until the findings, if they remain, are violations.
    :ivar behind: whether its audit trail lacks events that are still in transit, which is no finding.
    """

    findings: list[Finding]
    watched: Suspect
    left: float
    behind: bool


Wait = Callable[[float, int], None]
"""Waits a number of seconds because of a number of suspects."""
OnProgress = Callable[[str, int, int], None]
"""Receives the phase, how many of its items are done, and their total."""
PROGRESS_INTERVAL = 1_000
"""Orders between two calls of it."""


def _wait(seconds: float, suspects: int) -> None:  # noqa: ARG001 - the signature of Wait
    time.sleep(seconds)


def _ignore_progress(what: str, done: int, of: int) -> None:
    pass


class Auditor:
    """Audits three databases by their URLs (``orders``, ``inventory``, ``payments``)."""

    def __init__(
        self,
        urls: dict[str, str],
        grace: timedelta,
        *,
        audited: bool = True,
        queue: AuditQueue | None = None,
        wait: Wait = _wait,
        on_progress: OnProgress = _ignore_progress,
    ) -> None:
        """Prepare an audit.

        :param grace: the age from which a disagreement is a violation.
        :param audited: whether the settings include an audit participant.
        :param queue: the audit's queue; without it, only the outboxes show which events are in transit.
        :param wait: called when suspects are younger than the grace, or the queue's length is not yet
            reported.
        """
        self._urls, self._grace, self._audited, self._queue = urls, grace, audited, queue
        self._wait, self._on_progress = wait, on_progress

    def audit(self) -> Report:
        """Read everything; when all sagas have settled, it does not wait.

        :raises Unreadable: when a database cannot be read.
        """
        started = time.monotonic()
        report = Report()
        with Snapshots(self._urls, self._grace) as snapshots:
            report.looked_at = totals.count_rows(snapshots)
            survey = self._counted(snapshots.survey(), report.looked_at["orders"])
            suspects = {saga: Suspect(started, codes) for saga, codes in self._suspects(survey)}
            report.warnings.extend(totals.find_warnings(snapshots))
            for violation in self._totals(snapshots):
                report.add(violation)
        self._inquire(suspects, report)
        report.violations.sort(
            key=lambda v: (v.code, v.order is None, len(v.order or ""), v.order or "", v.saga or "")
        )
        report.seconds = time.monotonic() - started
        return report

    def _totals(self, snapshots: Snapshots) -> Iterator[Violation]:
        checks = (
            lambda: totals.check_stock(snapshots.snapshots["inventory"]),
            lambda: totals.check_ledger(snapshots.snapshots["payments"]),
            lambda: totals.check_packs(snapshots),
            lambda: totals.check_outboxes(snapshots, self._grace),
        )
        for done, check in enumerate(checks):
            self._on_progress("totals", done, len(checks))
            yield from check()

    def _counted(self, survey: Iterator[Rows], orders: int) -> Iterator[Rows]:
        """Report progress; sagas without an order, which are violations, exceed the total."""
        self._on_progress("orders", 0, orders)
        for done, rows in enumerate(survey, 1):
            yield rows
            if done % PROGRESS_INTERVAL == 0:
                self._on_progress("orders", done, max(done, orders))

    def _suspects(self, survey: Iterator[Rows]) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield the sagas that break rules, with the codes; facts of one shape are checked once."""
        verdicts: dict[tuple[object, ...], frozenset[str]] = {}
        for rows in survey:
            form = shape_of(rows)
            codes = verdicts.get(form)
            if codes is None:
                if len(verdicts) >= MAX_SHAPES:
                    verdicts.clear()
                codes = verdicts[form] = frozenset(
                    finding.code for finding in find_broken_rules(SagaFacts(rows), audited=self._audited)
                )
            if codes:
                yield next(row[0] for row in rows if row is not None), codes

    def _inquire(self, suspects: dict[str, Suspect], report: Report) -> None:
        """Read suspects again until each is cleared, lacks only events in transit, or is older than the
        grace.
        """
        behind: set[str] = set()
        for _ in range(MAX_ROUNDS):
            if not suspects:
                break
            before, suspects = suspects, {}
            owed = self._owed(before, report)
            with Snapshots(self._urls, self._grace) as snapshots:
                now = time.monotonic()
                longest = 0.0
                for done, rows in enumerate(snapshots.reread(before)):
                    self._on_progress("suspects", done, len(before))
                    facts = SagaFacts(rows)
                    look = self._look(facts, before[facts.saga], owed, now)
                    (behind.add if look.behind else behind.discard)(facts.saga)
                    if look.findings and look.left > 0:
                        suspects[facts.saga] = look.watched
                        longest = max(longest, look.left)
                        continue
                    for finding in look.findings:
                        report.add(facts.violation(finding))
            if behind and owed is not None:
                report.lag = owed.lag(len(behind))
            if suspects:
                self._wait(longest + 0.05, len(suspects))
        report.moving = len(suspects)

    def _look(self, facts: SagaFacts, known: Suspect, owed: PendingEvents | None, now: float) -> Verdict:
        """Compare the findings of a suspect with those of the read before."""
        findings = find_broken_rules(facts, audited=self._audited)
        codes = frozenset(finding.code for finding in findings)
        since = known.since if codes <= known.codes else now
        left = self._grace.total_seconds() - max(facts.age, now - since)
        unowed = known.unowed
        behind = INCOMPLETE in codes and owed is not None and owed.to(facts.saga)
        if behind:
            findings = [finding for finding in findings if finding.code != INCOMPLETE]
        elif INCOMPLETE in codes:
            # The saga ended before the outboxes were read, so its missing events had been emitted by then.
            if unowed is None and owed is not None and INCOMPLETE in known.codes:
                unowed = owed.read_at
            left = max(left, SHORT_DELAY if unowed is None or owed is None else owed.settles_in(unowed))
        return Verdict(findings, Suspect(since, codes, unowed), left, behind)

    def _owed(self, suspects: dict[str, Suspect], report: Report) -> PendingEvents | None:
        """Read the events in transit, if the audit trail of any suspect lacks some."""
        if not any(INCOMPLETE in suspect.codes for suspect in suspects.values()):
            return None
        with Snapshots(self._urls, self._grace) as snapshots:
            owed = PendingEvents(snapshots, suspects, self._queue)
        if owed.unknown is not None:
            warning = (
                f"the length of the audit's queue is unknown, so only outboxes are considered: {owed.unknown}"
            )
            if warning not in report.warnings:
                report.warnings.append(warning)
        return owed
