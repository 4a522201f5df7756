"""The handling of one envelope by one participant: its topic, its step, and transactions for its signals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from ordersaga.choreography import Choreography
from ordersaga.circuit_breaker import CircuitBreaker
from ordersaga.envelope import PackHeader, SignalRow
from ordersaga.outbox import Outbox
from ordersaga.protocol.context import Context, log_fields_of
from ordersaga.step import Step
from ordersaga.transactions import ENGINE_LIMIT, Transactions

T = TypeVar("T")


class Delivery(NamedTuple):
    """An envelope's delivery by the transport.

    :ivar task: the id of the Celery task that handles it.
    :ivar redeliveries: how often it was delivered before.
    """

    task: str | None = None
    redeliveries: int = 0


class Job:
    """Opens transactions with the protocol's :class:`Context` for one envelope.

    :ivar name: of the step or engine task, as the audit shows it.
    """

    def __init__(
        self, transactions: Transactions, choreography: Choreography, topic: str, name: str, task: str | None
    ) -> None:
        self.transactions, self.choreography = transactions, choreography
        self.topic, self.name, self.task = topic, name, task

    @property
    def time_limit(self) -> timedelta:
        return ENGINE_LIMIT

    def run(
        self,
        work: Callable[[Context], T],
        time_limit: timedelta = ENGINE_LIMIT,
        *,
        wait_for_locks: bool = False,
        signals: int = 1,
    ) -> T:
        """Run ``work`` in a transaction; see :meth:`Transactions.run` for what is repeated and raised."""
        return self.transactions.run(
            lambda tx: work(self._context(tx)), time_limit, wait_for_locks=wait_for_locks, signals=signals
        )

    def log_fields(self, row: SignalRow[Any]) -> dict[str, str]:
        return log_fields_of(self.choreography, row)

    def _context(self, tx: Any) -> Context:
        participant = self.transactions.participant
        header = PackHeader(participant.name, self.name, self.task, 1)
        outbox = Outbox(header, notices=self.choreography.observed)
        return Context(tx, participant, self.choreography, outbox, self.topic)


class StepJob(Job):
    """A job whose signals are handled by a step."""

    def __init__(
        self,
        transactions: Transactions,
        choreography: Choreography,
        step: Step,
        breaker: CircuitBreaker,
        topic: str,
        task: str | None,
    ) -> None:
        super().__init__(transactions, choreography, topic, step.name, task)
        self.step, self.breaker = step, breaker

    @property
    def time_limit(self) -> timedelta:
        return self.step.time_limit
