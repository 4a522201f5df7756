"""Replays the model's traces with the real participants on real databases, one saga for each trace."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import orjson
import psycopg2
from sqlalchemy.orm import Session

from ordersaga import Choreography, Retry
from ordersaga.envelope import PackHeader, SignalRow, encode_envelope, encode_pack, encode_row, read_packs
from ordersaga.protocol import forward
from ordersaga.protocol.context import Context
from ordersaga.step import Step
from ordersaga.testing import QueuedEnvelope, Rehearsal
from tests.model.observation import Observation
from tests.model.state import AGAIN, CONSUMED_BY, OWNED, Act, SagaState
from tests.support.databases import Databases
from webapp.orders.models import CancelRequest, Product
from webapp.orders.pricing import Item
from webapp.orders.services import place_order, send_cancel_request
from workers.inventory import stock
from workers.payments.seed import NewWallet, open_wallets

PRICE = 100
UNNOTICED = {"attention", "notice"}
_numbers = itertools.count(1)

ORDERS = """
SELECT s.status, s.refusal, s.refused_with::json -> 1 ->> 'step', s.ended_at IS NOT NULL,
    ARRAY(SELECT participant FROM ordersaga_answer WHERE saga_id = s.id),
    ARRAY(SELECT kind FROM ordersaga_outbox WHERE saga_id = s.id),
    (SELECT json_object_agg(step, state) FROM ordersaga_journal WHERE saga_id = s.id)
FROM ordersaga_saga s WHERE id = %s
"""
INVENTORY = """
SELECT (SELECT json_object_agg(step, state) FROM ordersaga_journal WHERE saga_id = %(saga)s),
    (SELECT held FROM product WHERE sku = %(sku)s), (SELECT sold FROM product WHERE sku = %(sku)s)
"""
PAYMENTS = """
SELECT (SELECT json_object_agg(step, state) FROM ordersaga_journal WHERE saga_id = %(saga)s),
    (SELECT count(*) FROM ledger_transaction WHERE saga_id = %(saga)s AND kind = 'charge'),
    (SELECT count(*) FROM ledger_transaction WHERE saga_id = %(saga)s AND kind = 'refund')
"""


PAUSE = """
INSERT INTO ordersaga_paused_step (step, participant, error, process, probe_at)
VALUES (%s, %s, 'a test', 'a test', now() + interval '1 hour')
"""


class Injected(Exception):
    """A fault that the trace asks for."""


class ModelDriver:
    """Runs the choreography, and makes steps and undos fail on demand."""

    def __init__(self, choreography: Choreography, databases: Databases) -> None:
        self.choreography, self.databases = choreography, databases
        self.failing: Counter[str] = Counter()
        self._readers: dict[str, Any] = {}

    @contextmanager
    def inject_faults(self) -> Iterator[None]:
        """Make steps and undos raise as often as ``failing`` sets, just before the commit."""
        run = forward.run_step

        def run_and_raise(context: Context, step: Step, rows: Sequence[SignalRow[Any]]) -> forward.StepResult:
            found = context.journal.read([row.saga for row in rows])
            ran = run(context, step, rows)
            if all(entry.state == "retrying" for entry in found if entry.step == step.key):
                self._raise(step.name)
            return ran

        with patch.object(forward, "run_step", run_and_raise):
            undone = [
                self._wrap_undo(s.declared_undo, f"undo {s.name}")
                for s in self.choreography.steps
                if s.declared_undo
            ]
            try:
                yield
            finally:
                for put_back in undone:
                    put_back()
                for reader in self._readers.values():
                    reader.close()

    def _wrap_undo(self, owner: Any, name: str) -> Callable[[], None]:
        function = owner.function

        def run(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            self._raise(name)
            return result

        owner.function = run
        return lambda: setattr(owner, "function", function)

    def _raise(self, name: str) -> None:
        if self.failing[name]:
            self.failing[name] -= 1
            raise Injected(name)

    def retry(self, attempts: int) -> None:
        """Set the number of attempts of each step."""
        for step in self.choreography.steps:
            step.retry = Retry(attempts=attempts)

    def read(self, owner: str, sql: str, params: Any) -> Any:
        """Run a statement in a participant's database; return its first row, or None."""
        if owner not in self._readers:
            self._readers[owner] = psycopg2.connect(getattr(self.databases, owner))
            self._readers[owner].autocommit = True
        with self._readers[owner].cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchone() if cursor.description else None

    @contextmanager
    def session(self, owner: str) -> Iterator[Session]:
        with self.choreography.participants[owner].database.begin() as tx:
            yield tx.db

    def order(self, **options: Any) -> ReplayedSaga:
        """Place an order of a product that is out of stock, by a customer without money.

        :param options: as for :class:`Rehearsal`.
        """
        return ReplayedSaga(self, next(_numbers), Rehearsal(self.choreography, **options))

    def replay(self, trace: Sequence[tuple[Act, SagaState]]) -> None:
        """Replay a trace of the model with a new order, and compare the state after every act.

        :raises AssertionError: at the first difference, with the acts up to it.
        """
        replayed = self.order()
        replayed.gather()
        for number, (act, saga) in enumerate(trace):
            replayed.perform(act)
            differences = replayed.differences(saga)
            assert not differences, "\n".join(["", *(str(a) for a, _ in trace[: number + 1]), *differences])


class ReplayedSaga:
    """One saga of the real participants.

    :ivar messages: every message sent so far, by its name in the model and its recipient.
    :ivar owed: the keys of ``messages`` that have not been delivered.
    """

    def __init__(self, driver: ModelDriver, number: int, rehearsal: Rehearsal) -> None:
        self.driver, self.sku, self.customer = driver, f"SKU-{number}", f"customer-{number}"
        self.rehearsal = rehearsal
        with driver.session("inventory") as session:
            stock.receive(session, {self.sku: 0})
        Product.objects.create(sku=self.sku, name=self.sku, price=PRICE, currency="EUR")
        self.order = place_order(customer=self.customer, lines=[Item(self.sku, 1)], idempotency_key=self.sku)
        self.saga = str(self.order.saga_id)
        self.messages: dict[tuple[str, str], QueuedEnvelope] = {}
        self.owed: set[tuple[str, str]] = set()

    def perform(self, act: Act) -> None:
        """Perform one act of the model."""
        if act.how == "lost":
            del self.messages[act.signal, act.to]
            self.owed.remove((act.signal, act.to))
        elif act.signal == "deadline":
            self.rehearsal.make_timers_due("deadline", self.saga)
        elif act.signal == "cancel":
            send_cancel_request(self.order, "the customer")
        elif act.signal == "watchdog":
            self.run_watchdog()
            self.gather()
            self.owed.remove(("watchdog", "orders"))
            self.rehearsal.deliver(self.messages.pop(("watchdog", "orders")))
        else:
            self._deliver(act)
        self.gather(act.to if act.to in OWNED else "orders")

    def run_watchdog(self) -> None:
        """Make the saga look idle for a day, and its watchdog due."""
        sql = "UPDATE ordersaga_saga SET moved_at = now() - interval '1 day' WHERE id = %s"
        self.driver.read("orders", sql, [self.saga])
        self.rehearsal.make_timers_due("watchdog", self.saga)

    def _deliver(self, act: Act) -> None:
        signal = act.signal.removesuffix(AGAIN)
        retried = signal.removeprefix("retry ") if signal.startswith("retry ") else ""
        name = CONSUMED_BY.get(signal, retried)
        failing: list[str] = []
        if name and act.how == "done":
            self.provide(name)
        elif name and act.how in ("raises", "gives up"):
            failing = [name]
        elif "undo fails" in act.how:
            failing = [f"undo {n}" for n in OWNED[act.to]]
        self.driver.retry(1 if act.how == "gives up" else 10**9)
        self.driver.failing = Counter(failing)
        with self._paused(act.to, name) if act.how == "paused" else nullcontext():
            self.rehearsal.deliver(self.messages[act.signal, act.to])
        self.owed.discard((act.signal, act.to))
        self.driver.failing = Counter()
        if name == "cancel" and not failing and act.how != "paused":
            outcome = CancelRequest.objects.get(order=self.order).outcome
            assert outcome, "the request to cancel has an outcome"

    @contextmanager
    def _paused(self, owner: str, step: str) -> Iterator[None]:
        """Pause the step, with no probe due."""
        key = f"{owner}.{step}"
        breaker = self.rehearsal.receivers[owner].breakers[key]
        breaker.pause()
        self.driver.read(owner, PAUSE, [key, owner])
        try:
            yield
            assert breaker.paused, "the step was resumed"
        finally:
            self.driver.read(owner, "DELETE FROM ordersaga_paused_step WHERE step = %s", [key])
            breaker.resume()

    def provide(self, step: str) -> None:
        """Provide the stock or money that the step needs to succeed."""
        if step == "reserve_stock":
            with self.driver.session("inventory") as session:
                stock.receive(session, {self.sku: 1})
        elif step == "charge":
            with self.driver.session("payments") as session:
                open_wallets(session, [NewWallet(self.customer, "EUR", PRICE)])

    def ended(self) -> bool:
        sql = "SELECT ended_at IS NOT NULL FROM ordersaga_saga WHERE id = %s"
        return bool(self.driver.read("orders", sql, [self.saga])[0])

    def differences(self, saga: SagaState) -> list[str]:
        """Describe how the databases differ from the model."""
        return self.observe().differences(Observation.of(saga))

    def gather(self, participant: str = "orders") -> None:
        """Move the due signals of an outbox to ``messages``, each in its own envelope."""
        self.rehearsal.collect(participant)
        for mail in self.rehearsal.queued:
            for head, rows in read_packs(mail.envelope.body):
                for row in rows:
                    name = _model_name(mail, head, row)
                    if row.saga == self.saga and name and (name, mail.to) != ("Answer(orders)", "orders"):
                        self.messages[name, mail.to] = single_signal(mail, head, row)
                        self.owed.add((name, mail.to))
        self.rehearsal.queued.clear()

    def observe(self) -> Observation:
        """Read the state of the saga from the databases."""
        status, refusal, failed, ended, answers, timers, journal = self.driver.read(
            "orders", ORDERS, [self.saga]
        )
        keys = {"saga": self.saga, "sku": self.sku}
        inventory, held, sold = self.driver.read("inventory", INVENTORY, keys)
        payments, charged, refunded = self.driver.read("payments", PAYMENTS, keys)
        rows = {**(journal or {}), **(inventory or {}), **(payments or {})}
        steps = {key.partition(".")[2]: state for key, state in rows.items()}
        assert ("deadline" in timers) == (status == "PENDING"), (
            "a deadline is deleted when the saga leaves PENDING"
        )
        assert ("watchdog" in timers) == (not ended), "a watchdog stays until the saga ends"
        complete = status == "ROLLED_BACK" or steps.get("complete_order") == "done"
        assert ended == complete, "a saga ends when it is rolled back or complete"
        refusal = f"StepFailed({failed.partition('.')[2]})!" if failed else f"{refusal}!" if refusal else ""
        heard = frozenset(key.partition(".")[0] for key in rows if key.endswith(".refusal"))
        steps.pop("refusal", None)
        messages = frozenset((*key, key in self.owed) for key in self.messages)
        return Observation(
            status, refusal, steps, heard, frozenset(answers), charged, refunded, held, sold, messages
        )  # fmt: skip


def single_signal(mail: QueuedEnvelope, head: PackHeader, row: SignalRow[Any]) -> QueuedEnvelope:
    """Return a delivery of one signal alone."""
    text = encode_row(row._replace(data=orjson.dumps(row.data).decode()))
    body = encode_envelope(mail.envelope.topic, [encode_pack(head, [text])])
    return QueuedEnvelope(mail.to, mail.envelope._replace(signals=1, body=body))


def _model_name(mail: QueuedEnvelope, head: PackHeader, row: SignalRow[Any]) -> str | None:
    """Return a signal's name in the model, or None if the model leaves it out."""
    topic = mail.envelope.topic
    kind, _, name = topic.partition(".")
    again = AGAIN if row.again else ""
    if topic == "answer":
        return f"Answer({row.data['participant']})"
    if kind == "refusal":
        refusal = f"StepFailed({row.data['step'].partition('.')[2]})" if name == "StepFailed" else name
        return f"{refusal}!{again}"
    if kind == "signal":
        return f"retry {head.step}{again}" if mail.envelope.recipient and head.step else name + again
    return None if topic in UNNOTICED else topic
