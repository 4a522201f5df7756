"""A fault run: faults one after another under load, and the demands on the result."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import amqp
import psycopg2

from ordersaga.routing_key_backoff import RoutingKeyBackoff
from tests.faults.installation import VHOST, FaultInstallation, installed
from tests.faults.kinds import KINDS, Fault
from tests.faults.load import ENDS, Kind
from tests.support.databases import OWNERS
from tests.support.polling import eventually
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled, time_scale

WARM_UP, QUIET = 5.0, 3.0
"""Seconds before the first fault, and between a recovery and the next fault."""
EVIDENCE_WITHIN = 20.0
"""Seconds by which a fault is prolonged until there is evidence of its effect."""
PROGRESS = 0.1
"""The share of the orders placed during a partial fault that must be settled during it."""
PROGRESS_AFTER = 20.0
"""Seconds that such a fault must last before progress is demanded, as lock waits and
retries take that long.
"""
SETTLED_WITHIN = 180.0
"""Seconds after the end of the load."""

SAMPLE = "SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL) FROM ordersaga_saga"
OPEN_BEFORE = "SELECT count(*) FROM ordersaga_saga WHERE ended_at IS NULL AND started_at <= %s"
SETTLED_SINCE = "SELECT count(*) FROM ordersaga_saga WHERE ended_at >= %s"
PLACED_SINCE = "SELECT count(*) FROM ordersaga_saga WHERE started_at >= %s"
ENDED = "SELECT id::text, status, refusal, reason, ended_at IS NOT NULL FROM ordersaga_saga"
DEAD = "SELECT participant, step, error, message FROM ordersaga_dead_letter"


class PlannedFault(NamedTuple):
    """A planned fault: the name of its kind, its duration in seconds, and its seed."""

    kind: str
    seconds: float
    seed: int


def schedule(seed: int, kinds: Sequence[str], *, short: bool = False) -> Iterator[PlannedFault]:
    """Yield the faults of a seed without end: each kind once in random order, then any. Short runs take one
    round.
    """
    dice = random.Random(seed)
    first = list(kinds)
    dice.shuffle(first)
    for kind in first:
        seconds = KINDS[kind].short if short else dice.uniform(*KINDS[kind].seconds)
        yield PlannedFault(kind, seconds, dice.getrandbits(32))
    while not short:
        kind = dice.choice(list(kinds))
        yield PlannedFault(kind, dice.uniform(*KINDS[kind].seconds), dice.getrandbits(32))


@dataclass
class FaultRecord:
    """A fault that has happened; seconds count from the beginning of the run.

    :ivar recovered: seconds from its end until every order placed before was settled; None at the timeout.
    """

    kind: str
    target: str
    began: float
    ended: float = 0.0
    evidence: str | None = None
    recovered: float | None = None
    placed: int = 0
    settled: int = 0
    faults: list[str] = field(default_factory=list)


class Sample(NamedTuple):
    """The placed and the open orders at a second of the run."""

    at: float
    placed: int
    open: int


class Sampler(threading.Thread):
    """Counts sagas once a second, over a connection that no fault affects."""

    def __init__(self, url: str, began: float) -> None:
        super().__init__(name="sampler", daemon=True)
        self._url, self._began, self._ended = url, began, threading.Event()
        self.samples: list[Sample] = []

    def run(self) -> None:
        """Sample until :meth:`stop`."""
        while not self._ended.wait(1):
            with suppress(psycopg2.Error):
                placed, still_open = query(self._url, SAMPLE)[0]
                self.samples.append(Sample(round(time.monotonic() - self._began, 1), placed, still_open))

    def stop(self) -> None:
        self._ended.set()
        self.join(scaled(10))


class Run:
    """A whole run; :meth:`go` returns the report."""

    def __init__(
        self,
        installation: FaultInstallation,
        *,
        seed: int,
        minutes: float,
        rate: float,
        kinds: Sequence[str],
        short: bool,
    ) -> None:
        self.installation, self.seed, self.minutes, self.rate, self.short = (
            installation,
            seed,
            minutes,
            rate,
            short,
        )
        self.kinds = kinds
        self.url = installation.databases["orders"].database_url
        self.began = time.monotonic()
        self.happened: list[FaultRecord] = []

    def go(self) -> dict[str, Any]:
        """Place orders and run faults until the time is up; then check the result."""
        installation = self.installation
        self.began = time.monotonic()
        installation.load.start()
        sampler = Sampler(self.url, self.began)
        sampler.start()
        self._pause(WARM_UP)
        for number, planned in enumerate(schedule(self.seed, self.kinds, short=self.short)):
            if number >= len(self.kinds) and self._now() >= self.minutes * 60:
                break
            self._happen(planned)
            self._pause(1 if self.short else QUIET)
        stopped = installation.load.terminate(60)
        after = self._until_settled()
        sampler.stop()
        verdict = [*self._verdict(), *([f"the load ended with status {stopped}"] if stopped else [])]
        return self._report(sampler.samples, after, verdict)

    def _now(self) -> float:
        return round(time.monotonic() - self.began, 1)

    def _pause(self, seconds: float) -> None:
        """Wait, and restart processes that end by themselves."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.installation.supervise()
            time.sleep(min(0.25, left))

    def _happen(self, planned: PlannedFault) -> None:
        fault = KINDS[planned.kind](self.installation, random.Random(planned.seed))
        happened = FaultRecord(fault.name, fault.target, self._now())
        self.happened.append(happened)
        say(f"{happened.began:6.1f} s  {fault.name} {fault.target}")
        clock = self._clock()
        try:
            fault.begin()
            happened.evidence = self._until_evident(fault, planned.seconds)
            [(happened.settled,)], [(happened.placed,)] = (
                query(self.url, q, clock) for q in (SETTLED_SINCE, PLACED_SINCE)
            )
        except AssertionError as error:  # the condition was not met in time
            happened.faults.append(str(error))
        finally:
            fault.end()
        happened.ended = self._now()
        self._judge(fault, happened)
        happened.recovered = self._recover(fault)
        if happened.recovered is None:
            happened.faults.append(
                f"orders placed before its end were still open {scaled(fault.recovers_within):.0f} s later"
            )
        recovered = (
            "not recovered" if happened.recovered is None else f"recovered in {happened.recovered:.1f} s"
        )
        say(
            f"{self._now():6.1f} s    {happened.evidence or 'no evidence'}; {recovered}"
            + "".join(f"; {f}" for f in happened.faults)
        )

    def _until_evident(self, fault: Fault, seconds: float) -> str | None:
        """Let the fault last until there is evidence that it takes effect."""
        evidence = None
        began = time.monotonic()
        while (took := time.monotonic() - began) < seconds or (
            evidence is None and took < seconds + scaled(EVIDENCE_WITHIN)
        ):
            if evidence is None:
                with suppress(
                    OSError, psycopg2.Error, amqp.AMQPError
                ):  # a probe may fail; the next one decides
                    evidence = fault.evidence()
            self._pause(min(0.5, max(0.05, seconds - took)))
        return evidence

    def _judge(self, fault: Fault, happened: FaultRecord) -> None:
        lasted = happened.ended - happened.began
        if happened.evidence is None:
            happened.faults.append("nothing shows that it took effect")
        if (
            fault.partial
            and lasted >= scaled(PROGRESS_AFTER)
            and happened.settled < PROGRESS * happened.placed
        ):
            happened.faults.append(
                f"only {happened.settled} orders were settled meanwhile, {happened.placed} were placed"
            )

    def _recover(self, fault: Fault) -> float | None:
        """Return the seconds until every order placed before now is settled."""
        clock, began = self._clock(), time.monotonic()

        def recovered() -> bool:
            self.installation.supervise()
            return query(self.url, OPEN_BEFORE, clock) == [(0,)]

        try:
            eventually(recovered, fault.recovers_within, "all orders settled")
        except AssertionError:
            return None
        return round(time.monotonic() - began, 1)

    def _clock(self) -> datetime:
        """Return the time by the orders database's clock."""
        at: datetime = query(self.url, "SELECT clock_timestamp()")[0][0]
        return at

    def _until_settled(self) -> float | None:
        began = time.monotonic()
        with suppress(AssertionError):
            eventually(lambda: query(self.url, SAMPLE)[0][1] == 0, SETTLED_WITHIN, "all orders settled")
            return round(time.monotonic() - began, 1)
        return None

    # -- verdict --------------------------------------------------------------------------------------

    def _verdict(self) -> list[str]:
        """Return every unmet demand; empty for a good run."""
        found = [
            f"{h.kind} {h.target} at {h.began:.0f} s: {fault}" for h in self.happened for fault in h.faults
        ]
        if missing := [kind for kind in self.kinds if kind not in {h.kind for h in self.happened}]:
            found.append(f"never happened: {', '.join(missing)}")
        found += self._wrong_ends()
        found += self._dead_letters()
        try:
            self.installation.probe.wait_until_clean(
                timeout=RoutingKeyBackoff.CAP + 60
            )  # a relay may wait before it tries a queue again
        except AssertionError as error:
            found.append(f"reconcile: {error}")
        return found

    def _wrong_ends(self) -> list[str]:
        """Return the orders whose end differs from their kind."""
        kinds = {line["saga"]: Kind(line["kind"]) for line in self.installation.placed()}
        wrong: Counter[str] = Counter()
        seen = 0
        for saga, status, refusal, reason, ended in query(self.url, ENDED):
            if saga not in kinds:  # placed while the load was stopping, before it printed the order
                continue
            seen += 1
            if not ended:
                wrong[f"{kinds[saga]} order still {status}"] += 1
            elif (status, refusal) not in ENDS[kinds[saga]]:
                wrong[f"{kinds[saga]} order {status} by {refusal} ({reason})"] += 1
        lost = [f"{len(kinds) - seen} orders that were placed are not there"] if seen != len(kinds) else []
        return lost + [f"{count} × {what}" for what, count in wrong.most_common()]

    def _dead_letters(self) -> list[str]:
        found: Counter[str] = Counter()
        for owner in OWNERS:
            for participant, step, error, message in query(
                getattr(self.installation.probe.databases, owner), DEAD
            ):
                found[f"dead letter of {participant} {step}: {error} {message[:80]}"] += 1
        for dead_letter in self.installation.probe.dead_letters():
            described = (
                f"{dead_letter.source} {dead_letter.participant} {dead_letter.topic} {dead_letter.error}"
            )
            found[f"dead letter in the audit: {described}"] += 1
        queues = self.installation.rabbitmq.queues(VHOST)
        found |= {
            f"messages in {name}": q.ready
            for name, q in queues.items()
            if q.ready and name.endswith((".dead", ".unheard"))
        }
        return [f"{count} × {what}" for what, count in found.most_common()]

    def _report(self, samples: list[Sample], after: float | None, verdict: list[str]) -> dict[str, Any]:
        statuses = dict(query(self.url, "SELECT status, count(*) FROM ordersaga_saga GROUP BY status"))
        lasted = samples[-1].at if samples else 0
        return {
            "seed": self.seed,
            "rate_wanted": self.rate,
            "seconds": lasted,
            "time_scale": time_scale(),
            "orders": {
                "placed": sum(statuses.values()),
                **{name.lower(): count for name, count in sorted(statuses.items())},
            },
            "settled_after_the_load": after,
            "restarts": self.installation.restarts,
            "kinds": {kind: self._of_kind(kind) for kind in self.kinds},
            "left_out": dict(self._left_out()),
            "faults": [asdict(happened) for happened in self.happened],
            "verdict": verdict,
            "timeline": samples,
        }

    def _of_kind(self, kind: str) -> dict[str, Any]:
        of_it = [h for h in self.happened if h.kind == kind]
        recovered = [h.recovered for h in of_it if h.recovered is not None]
        return {
            "times": len(of_it),
            "seconds": round(sum(h.ended - h.began for h in of_it), 1),
            "recovery_seconds": {"least": min(recovered), "most": max(recovered)} if recovered else None,
            "placed_meanwhile": sum(h.placed for h in of_it),
            "settled_meanwhile": sum(h.settled for h in of_it),
        }

    def _left_out(self) -> Iterator[tuple[str, str]]:
        for name, kind in KINDS.items():
            if name not in self.kinds:
                needs_root = kind.needs_root and self.installation.isolation is None
                yield name, "needs root, for namespaces" if needs_root else "not asked for"


def query(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query, directly from the server."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())
    finally:
        connection.close()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(
    *,
    seed: int,
    minutes: float,
    rate: float,
    kinds: Sequence[str] = (),
    short: bool = False,
    rabbitmq: RabbitMQ | None = None,
) -> dict[str, Any]:
    """Run a whole fault run on private servers; return the report, whose ``verdict`` is empty for a good run.

    :param kinds: of the faults; all by default. Those that need root are left out without it.
    :param rabbitmq: a node to use instead of a private one.
    """
    with installed(rate, seed, rabbitmq) as installation:
        possible = [
            k for k in kinds or KINDS if installation.isolation is not None or not KINDS[k].needs_root
        ]
        return Run(installation, seed=seed, minutes=minutes, rate=rate, kinds=possible, short=short).go()
