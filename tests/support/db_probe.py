"""What stands in a test's three databases, read by plain SQL; no engine code."""

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


class Letter(NamedTuple):
    """A row of the one desk."""

    source: str
    participant: str
    topic: str
    step: str | None
    error: str
    message: str
    traceback: str
    body: bytes


class Books:
    def __init__(self, databases: Databases) -> None:
        self.databases = databases

    def ask(self, owner: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement in the database of ``orders``, ``inventory`` or ``payments``; its rows."""
        connection = psycopg2.connect(getattr(self.databases, owner))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    # -- sagas
    # --------------------------------------------------------------------------------------------------------

    def saga(self, saga: str) -> SagaRow:
        columns = "status, refusal, refused_by, reason, attention, participants, ended_at IS NOT NULL"
        return SagaRow(*self.ask("orders", f"SELECT {columns} FROM ordersaga_saga WHERE id = %s", saga)[0])

    def order(self, saga: str) -> str:
        """The number of the saga's order."""
        return str(self.ask("orders", "SELECT id FROM orders_order WHERE saga_id = %s", saga)[0][0])

    def statuses(self, sagas: Sequence[str]) -> Counter[str]:
        """How many sagas stand where; ``open CONFIRMED`` is not yet complete."""
        statement = """
            SELECT CASE WHEN ended_at IS NULL AND status = 'CONFIRMED' THEN 'open ' ELSE '' END || status, count(*)
            FROM ordersaga_saga WHERE id = ANY(%s::uuid[]) GROUP BY 1
        """
        return Counter(dict(self.ask("orders", statement, list(sagas))))

    def all_confirmed(self, sagas: Sequence[str], timeout: float = 60) -> None:
        """Wait until all are complete."""
        eventually(lambda: self._are(sagas, CONFIRMED=len(sagas)), timeout, f"{len(sagas)} sagas complete")

    def all_rolled_back(self, sagas: Sequence[str], timeout: float = 60) -> None:
        eventually(
            lambda: self._are(sagas, ROLLED_BACK=len(sagas)), timeout, f"{len(sagas)} sagas rolled back"
        )

    def all_ended(
        self, sagas: Sequence[str], timeout: float = 60, meanwhile: Callable[[], None] = lambda: None
    ) -> Counter[str]:
        """Wait until all have ended, and do something ``meanwhile``; how they have."""

        def ended() -> bool:
            meanwhile()
            now = self.statuses(sagas)
            assert now["CONFIRMED"] + now["ROLLED_BACK"] == len(sagas), now
            return True

        eventually(ended, timeout, f"{len(sagas)} sagas ended")
        return self.statuses(sagas)

    def reaches(self, saga: str, status: str, timeout: float = 30) -> SagaRow:
        """Wait until the saga has this status."""
        eventually(lambda: self._are([saga], open=status), timeout, f"{saga} is {status}")
        return self.saga(saga)

    def _are(self, sagas: Sequence[str], **expected: Any) -> bool:
        now = self.statuses(sagas)
        if "open" in expected:
            expected = {status: 1 for status in now if status.removeprefix("open ") == expected["open"]}
        assert now == expected, f"{dict(now)}; {self.journals(sagas)}"
        return bool(expected)

    def answers(self, saga: str) -> set[str]:
        """Who has answered the saga's refusal."""
        return {
            who
            for (who,) in self.ask(
                "orders", "SELECT participant FROM ordersaga_answer WHERE saga_id = %s", saga
            )
        }

    # -- journals and effects
    # -----------------------------------------------------------------------------------------

    def journal(self, saga: str) -> dict[str, str]:
        """State by step, of all participants."""
        statement = "SELECT step, state FROM ordersaga_journal WHERE saga_id = %s"
        return {step: state for owner in OWNERS for step, state in self.ask(owner, statement, saga)}

    def journals(self, sagas: Sequence[str]) -> dict[str, dict[str, str]]:
        """Of the first few open ones, for messages."""
        statement = (
            "SELECT id::text FROM ordersaga_saga WHERE id = ANY(%s::uuid[]) AND ended_at IS NULL LIMIT 2"
        )
        return {saga: self.journal(saga) for (saga,) in self.ask("orders", statement, list(sagas))}

    def goods(self, saga: str) -> dict[str, str]:
        """State of the saga's reservations by SKU: held, released or shipped."""
        return dict(self.ask("inventory", "SELECT sku, state FROM reservation WHERE saga_id = %s", saga))

    def movements(self, saga: str) -> list[tuple[str, str, int]]:
        """SKU, kind and units, in their order."""
        return self.ask(
            "inventory", "SELECT sku, kind, quantity FROM movement WHERE saga_id = %s ORDER BY id", saga
        )

    def money(self, saga: str) -> list[tuple[str, int]]:
        """The saga's ledger transactions: kind, and what the wallet lost or got."""
        statement = """
            SELECT kind, coalesce((SELECT sum(amount) FROM ledger_entry
                                   WHERE transaction_id = id AND account LIKE 'wallet:%%')::int, 0)
            FROM ledger_transaction WHERE saga_id = %s ORDER BY id
        """
        return self.ask("payments", statement, saga)

    def product(self, sku: str) -> dict[str, int]:
        """Where the article's units are."""
        [(on_hand, held, sold)] = self.ask(
            "inventory", "SELECT on_hand, held, sold FROM product WHERE sku = %s", sku
        )
        return {"on_hand": on_hand, "held": held, "sold": sold}

    def balance(self, customer: str) -> int:
        """In the customer's wallet, in cents."""
        return int(self.ask("payments", "SELECT balance FROM wallet WHERE customer = %s", customer)[0][0])

    # -- audit
    # --------------------------------------------------------------------------------------------------------

    def trail(self, saga: str) -> list[str]:
        """The saga's story as heard: ``participant: name``."""
        statement = "SELECT participant, name FROM audit_sagaevent WHERE saga_id = %s ORDER BY said_at, id"
        return [f"{who}: {what}" for who, what in self.ask("orders", statement, saga)]

    def desk(self, saga: str | None = None) -> list[Letter]:
        """The dead letters of one saga, or all."""
        columns = "source, participant, topic, step, error, message, traceback, body"
        statement = (
            f"SELECT {columns} FROM audit_deadletter WHERE %s::uuid IS NULL OR saga_id = %s ORDER BY id"
        )
        return [
            Letter._make((*row[:-1], bytes(row[-1]))) for row in self.ask("orders", statement, saga, saga)
        ]

    def dead_letters(self, owner: str, saga: str) -> list[tuple[str, str, int]]:
        """A participant's own: step, traceback, attempts."""
        statement = "SELECT step, traceback, attempts FROM ordersaga_dead_letter WHERE saga_id = %s"
        return self.ask(owner, statement, saga)

    def now(self) -> datetime:
        """By the clock of the sagas' database."""
        return cast("datetime", self.ask("orders", "SELECT clock_timestamp()")[0][0])

    def since(self, began: datetime) -> str:
        """What the sagas that began since then took, for people: from beginning to end, and what was said
        once more.
        """
        ends = "SELECT count(ended_at), count(*), max(ended_at - started_at) FROM ordersaga_saga WHERE started_at >= %s"
        ended, sagas, slowest = self.ask("orders", ends, began)[0]
        repeats = """
            SELECT count(*) FROM audit_sagaevent JOIN ordersaga_saga s ON s.id = saga_id WHERE again AND s.started_at >= %s
        """
        [(repeated,)] = self.ask("orders", repeats, began)
        took = f", the slowest in {slowest.total_seconds():.2f} s" if slowest else ""
        return f"{ended} of {sagas} sagas settled{took}; {repeated} signals said again"

    def reconcile(self) -> Report:
        """What the auditor says at this moment, without any grace."""
        urls = {owner: getattr(self.databases, owner) for owner in OWNERS}
        return Auditor(urls, timedelta(0), audited=True).audit()

    def are_clean(self, timeout: float = 30) -> None:
        """Wait until the auditor finds nothing: the audit trail may lag behind the sagas' end."""

        def clean() -> bool:
            report = self.reconcile()
            assert report.clean, [(v.code, v.order, v.evidence) for v in report.violations[:5]]
            assert report.lag is None, report.lag
            return True

        eventually(clean, timeout, "clean books")


def once(events: Iterable[str]) -> bool:
    """Whether nothing stands twice."""
    return max(Counter(events).values(), default=1) == 1
