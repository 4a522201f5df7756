"""Reads a test's three databases by plain SQL, without the engine's code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

import psycopg2

from tests.support.databases import OWNERS, Databases
from tests.support.polling import eventually
from webapp.ops.reconcile import Auditor
from webapp.ops.reconcile.codes import Report


class SagaRow(NamedTuple):
    status: str
    refusal: str | None
    refused_by: str | None
    reason: str | None
    attention: str | None
    participants: list[str]
    ended: bool


class DeadLetterRow(NamedTuple):
    """A row of the audit's table of dead letters."""

    source: str
    participant: str
    topic: str
    step: str | None
    error: str
    message: str
    traceback: str
    body: bytes


class DatabaseProbe:
    def __init__(self, databases: Databases) -> None:
        self.databases = databases

    def query(self, owner: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement in the database of ``orders``, ``inventory`` or ``payments``."""
        connection = psycopg2.connect(getattr(self.databases, owner))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    # -- sagas -------------------------------------------------------------------------------------------

    def saga(self, saga: str) -> SagaRow:
        columns = "status, refusal, refused_by, reason, attention, participants, ended_at IS NOT NULL"
        return SagaRow(*self.query("orders", f"SELECT {columns} FROM ordersaga_saga WHERE id = %s", saga)[0])

    def order_number(self, saga: str) -> str:
        return str(self.query("orders", "SELECT id FROM orders_order WHERE saga_id = %s", saga)[0][0])

    def statuses(self, sagas: Sequence[str]) -> Counter[str]:
        """Count the sagas of each status; ``open CONFIRMED`` is confirmed and not yet complete."""
        statement = """
            SELECT CASE WHEN ended_at IS NULL AND status = 'CONFIRMED' THEN 'open ' ELSE '' END || status,
                   count(*)
            FROM ordersaga_saga WHERE id = ANY(%s::uuid[]) GROUP BY 1
        """
        return Counter(dict(self.query("orders", statement, list(sagas))))

    def wait_until_confirmed(self, sagas: Sequence[str], timeout: float = 60) -> None:
        """Wait until all sagas are confirmed and complete."""
        eventually(lambda: self._are(sagas, CONFIRMED=len(sagas)), timeout, f"{len(sagas)} sagas complete")

    def wait_until_rolled_back(self, sagas: Sequence[str], timeout: float = 60) -> None:
        eventually(
            lambda: self._are(sagas, ROLLED_BACK=len(sagas)), timeout, f"{len(sagas)} sagas rolled back"
        )

    def wait_until_ended(
        self, sagas: Sequence[str], timeout: float = 60, meanwhile: Callable[[], None] = lambda: None
    ) -> Counter[str]:
        """Wait until all sagas have ended, calling ``meanwhile`` at each poll; return their statuses."""

        def ended() -> bool:
            meanwhile()
            now = self.statuses(sagas)
            assert now["CONFIRMED"] + now["ROLLED_BACK"] == len(sagas), now
            return True

        eventually(ended, timeout, f"{len(sagas)} sagas ended")
        return self.statuses(sagas)

    def wait_for_status(self, saga: str, status: str, timeout: float = 30) -> SagaRow:
        eventually(lambda: self._are([saga], open=status), timeout, f"{saga} is {status}")
        return self.saga(saga)

    def _are(self, sagas: Sequence[str], **expected: Any) -> bool:
        now = self.statuses(sagas)
        if "open" in expected:
            expected = {status: 1 for status in now if status.removeprefix("open ") == expected["open"]}
        assert now == expected, f"{dict(now)}; {self.journals(sagas)}"
        return bool(expected)

    def answers(self, saga: str) -> set[str]:
        """Return the participants that have answered."""
        statement = "SELECT participant FROM ordersaga_answer WHERE saga_id = %s"
        return {participant for (participant,) in self.query("orders", statement, saga)}

    # -- journals and effects ----------------------------------------------------------------------------

    def journal(self, saga: str) -> dict[str, str]:
        """Return the state of each step, of all participants."""
        statement = "SELECT step, state FROM ordersaga_journal WHERE saga_id = %s"
        return {step: state for owner in OWNERS for step, state in self.query(owner, statement, saga)}

    def journals(self, sagas: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the journals of two open sagas, for messages."""
        statement = (
            "SELECT id::text FROM ordersaga_saga WHERE id = ANY(%s::uuid[]) AND ended_at IS NULL LIMIT 2"
        )
        return {saga: self.journal(saga) for (saga,) in self.query("orders", statement, list(sagas))}

    def reservations(self, saga: str) -> dict[str, str]:
        """Return the state of the saga's reservations by SKU: held, released or shipped."""
        return dict(self.query("inventory", "SELECT sku, state FROM reservation WHERE saga_id = %s", saga))

    def movements(self, saga: str) -> list[tuple[str, str, int]]:
        """Return SKU, kind and units of each movement, in the order they were written."""
        return self.query(
            "inventory", "SELECT sku, kind, quantity FROM movement WHERE saga_id = %s ORDER BY id", saga
        )

    def ledger(self, saga: str) -> list[tuple[str, int]]:
        """Return the saga's ledger transactions: kind, and the change of the wallet in cents."""
        statement = """
            SELECT kind, coalesce((SELECT sum(amount) FROM ledger_entry
                                   WHERE transaction_id = id AND account LIKE 'wallet:%%')::int, 0)
            FROM ledger_transaction WHERE saga_id = %s ORDER BY id
        """
        return self.query("payments", statement, saga)

    def stock_counters(self, sku: str) -> dict[str, int]:
        [(on_hand, held, sold)] = self.query(
            "inventory", "SELECT on_hand, held, sold FROM product WHERE sku = %s", sku
        )
        return {"on_hand": on_hand, "held": held, "sold": sold}

    def balance(self, customer: str) -> int:
        """Return the balance of the customer's wallet, in cents."""
        return int(self.query("payments", "SELECT balance FROM wallet WHERE customer = %s", customer)[0][0])

    # -- audit -------------------------------------------------------------------------------------------

    def audit_trail(self, saga: str) -> list[str]:
        """Return the saga's audit events in order, as ``participant: name``."""
        statement = "SELECT participant, name FROM audit_sagaevent WHERE saga_id = %s ORDER BY said_at, id"
        return [f"{who}: {what}" for who, what in self.query("orders", statement, saga)]

    def dead_letters(self, saga: str | None = None) -> list[DeadLetterRow]:
        """Return the audit's dead letters of one saga, or all."""
        columns = "source, participant, topic, step, error, message, traceback, body"
        statement = (
            f"SELECT {columns} FROM audit_deadletter WHERE %s::uuid IS NULL OR saga_id = %s ORDER BY id"
        )
        return [
            DeadLetterRow._make((*row[:-1], bytes(row[-1])))
            for row in self.query("orders", statement, saga, saga)
        ]

    def participant_dead_letters(self, owner: str, saga: str) -> list[tuple[str, str, int]]:
        """Return step, traceback and attempts of the dead letters in a participant's database."""
        statement = "SELECT step, traceback, attempts FROM ordersaga_dead_letter WHERE saga_id = %s"
        return self.query(owner, statement, saga)

    def now(self) -> datetime:
        """Return the time by the clock of the sagas' database."""
        return cast("datetime", self.query("orders", "SELECT clock_timestamp()")[0][0])

    def summary_since(self, began: datetime) -> str:
        """Summarise the sagas started since ``began``: how many ended, the slowest, the re-sent signals."""
        ends = """
            SELECT count(ended_at), count(*), max(ended_at - started_at)
            FROM ordersaga_saga WHERE started_at >= %s
        """
        ended, sagas, slowest = self.query("orders", ends, began)[0]
        repeats = """
            SELECT count(*) FROM audit_sagaevent JOIN ordersaga_saga s ON s.id = saga_id
            WHERE again AND s.started_at >= %s
        """
        [(repeated,)] = self.query("orders", repeats, began)
        took = f", the slowest in {slowest.total_seconds():.2f} s" if slowest else ""
        return f"{ended} of {sagas} sagas settled{took}; {repeated} signals re-sent"

    def reconcile(self) -> Report:
        """Run ``reconcile`` without a grace period."""
        urls = {owner: getattr(self.databases, owner) for owner in OWNERS}
        return Auditor(urls, timedelta(0), audited=True).audit()

    def wait_until_clean(self, timeout: float = 30) -> None:
        """Wait until ``reconcile`` finds nothing: the audit trail may lag behind the sagas."""

        def clean() -> bool:
            report = self.reconcile()
            assert report.clean, [(v.code, v.order, v.evidence) for v in report.violations[:5]]
            assert report.lag is None, report.lag
            return True

        eventually(clean, timeout, "reconcile to find nothing")


def has_no_duplicates(events: Iterable[str]) -> bool:
    return max(Counter(events).values(), default=1) == 1
