"""The real participants on real databases, played act by act as the model says, one saga for each trace."""

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
from ordersaga.testing import Mail, Rehearsal
from tests.model.observation import Observation
from tests.model.state import AGAIN, HEARD_AT, OWNED, Act, Saga
from tests.support.databases import Databases
from webapp.orders.models import CancelRequest, Product
from webapp.orders.pricing import Item
from webapp.orders.services import cancel_order, place_order
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
    """The choreography with levers: which step or undo raises, and whether for the last time."""

    def __init__(self, choreography: Choreography, databases: Databases) -> None:
        self.choreography, self.databases = choreography, databases
        self.failing: Counter[str] = Counter()
        self._readers: dict[str, Any] = {}

    @contextmanager
    def inject_faults(self) -> Iterator[None]:
        """While open, steps and undos raise as often as ``failing`` says, after all their work but the
        commit.
        """
        run = forward.run

        def run_and_raise(context: Context, step: Step, rows: Sequence[SignalRow[Any]]) -> forward.Ran:
            found = context.journal.read([row.saga for row in rows])
            ran = run(context, step, rows)
            if all(entry.state == "retrying" for entry in found if entry.step == step.key):
                self._raise(step.name)
            return ran

        with patch.object(forward, "run", run_and_raise):
            undone = [
                self._wrap_undo(s.undoing, f"undo {s.name}") for s in self.choreography.steps if s.undoing
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
        """How often each step is tried."""
        for step in self.choreography.steps:
            step.retry = Retry(attempts=attempts)

    def read(self, owner: str, sql: str, params: Any) -> Any:
        """One row of one participant's database."""
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
        """A new order, just placed: of an article that is not in stock, by a customer without money.

        :param options: of its :class:`Rehearsal`.
        """
        return ReplayedSaga(self, next(_numbers), Rehearsal(self.choreography, **options))

    def perform(self, trace: Sequence[tuple[Act, Saga]]) -> None:
        """Walk a trace of the model with a new order, and compare after every step.

        :raises AssertionError: at the first difference, with the story so far.
        """
        play = self.order()
        play.gather()
        for number, (act, saga) in enumerate(trace):
            play.play(act)
            differences = play.differences(saga)
            assert not differences, "\n".join(["", *(str(a) for a, _ in trace[: number + 1]), *differences])


class ReplayedSaga:
    """One saga, played by the real participants."""

    def __init__(self, driver: ModelDriver, number: int, rehearsal: Rehearsal) -> None:
        self.driver, self.sku, self.customer = driver, f"SKU-{number}", f"customer-{number}"
        self.rehearsal = rehearsal
        with driver.session("inventory") as session:
            stock.receive(session, {self.sku: 0})
        Product.objects.create(sku=self.sku, name=self.sku, price=PRICE, currency="EUR")
        self.order = place_order(customer=self.customer, lines=[Item(self.sku, 1)], idempotency_key=self.sku)
        self.saga = str(self.order.saga_id)
        self.bag: dict[tuple[str, str], Mail] = {}
        self.owed: set[tuple[str, str]] = set()

    def play(self, act: Act) -> None:
        """Let one act happen."""
        if act.how == "lost":
            del self.bag[act.signal, act.to]
            self.owed.remove((act.signal, act.to))
        elif act.signal == "deadline":
            self.rehearsal.due("deadline", self.saga)
        elif act.signal == "cancel":
            cancel_order(self.order, "the customer")
        elif act.signal == "watchdog":
            self.wake_watchdog()
            self.gather()
            self.owed.remove(("watchdog", "orders"))
            self.rehearsal.deliver(self.bag.pop(("watchdog", "orders")))
        else:
            self._hear(act)
        self.gather(act.to if act.to in OWNED else "orders")

    def wake_watchdog(self) -> None:
        """The saga has been still for long."""
        sql = "UPDATE ordersaga_saga SET moved_at = now() - interval '1 day' WHERE id = %s"
        self.driver.read("orders", sql, [self.saga])
        self.rehearsal.due("watchdog", self.saga)

    def _hear(self, act: Act) -> None:
        word = act.signal.removesuffix(AGAIN)
        name = HEARD_AT.get(word) or (word.removeprefix("retry ") if word.startswith("retry ") else "")
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
            self.rehearsal.deliver(self.bag[act.signal, act.to])
        self.owed.discard((act.signal, act.to))
        self.driver.failing = Counter()
        if name == "cancel" and not failing and act.how != "paused":
            outcome = CancelRequest.objects.get(order=self.order).outcome
            assert outcome, "whoever asked to cancel is told what became of it"

    @contextmanager
    def _paused(self, owner: str, step: str) -> Iterator[None]:
        """The step is paused, and no probe is due."""
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
        """What the step needs to succeed."""
        if step == "reserve_stock":
            with self.driver.session("inventory") as session:
                stock.receive(session, {self.sku: 1})
        elif step == "charge":
            with self.driver.session("payments") as session:
                open_wallets(session, [NewWallet(self.customer, "EUR", PRICE)])

    def ended(self) -> bool:
        """Whether the saga has its end."""
        sql = "SELECT ended_at IS NOT NULL FROM ordersaga_saga WHERE id = %s"
        return bool(self.driver.read("orders", sql, [self.saga])[0])

    def differences(self, saga: Saga) -> list[str]:
        """Where the databases are not as the model is."""
        return self.picture().differences(Observation.of(saga))

    def gather(self, participant: str = "orders") -> None:
        """Take what is due out of an outbox, each signal alone, by its name in the model."""
        self.rehearsal.collect(participant)
        for mail in self.rehearsal.mail:
            for head, rows in read_packs(mail.envelope.body):
                for row in rows:
                    word = _word(mail, head, row)
                    if row.saga == self.saga and word and (word, mail.to) != ("Answer(orders)", "orders"):
                        self.bag[word, mail.to] = alone(mail, head, row)
                        self.owed.add((word, mail.to))
        self.rehearsal.mail.clear()

    def picture(self) -> Observation:
        """What the databases hold, and what has been said."""
        status, refusal, failed, ended, answers, timers, journal = self.driver.read(
            "orders", ORDERS, [self.saga]
        )
        keys = {"saga": self.saga, "sku": self.sku}
        inventory, held, sold = self.driver.read("inventory", INVENTORY, keys)
        payments, charged, refunded = self.driver.read("payments", PAYMENTS, keys)
        rows = {**(journal or {}), **(inventory or {}), **(payments or {})}
        steps = {key.partition(".")[2]: state for key, state in rows.items()}
        assert ("deadline" in timers) == (status == "PENDING"), (
            "a deadline is struck out when the saga leaves PENDING"
        )
        assert ("watchdog" in timers) == (not ended), "a watchdog stays until the saga ends"
        complete = status == "ROLLED_BACK" or steps.get("complete_order") == "done"
        assert ended == complete, "a saga ends when it is rolled back or complete"
        turned_by = f"StepFailed({failed.partition('.')[2]})!" if failed else f"{refusal}!" if refusal else ""
        heard = frozenset(key.partition(".")[0] for key in rows if key.endswith(".refusal"))
        steps.pop("refusal", None)
        mail = frozenset((*letter, letter in self.owed) for letter in self.bag)
        return Observation(
            status, turned_by, steps, heard, frozenset(answers), charged, refunded, held, sold, mail
        )  # fmt: skip


def alone(mail: Mail, head: PackHeader, row: SignalRow[Any]) -> Mail:
    """The envelope of one signal."""
    text = encode_row(row._replace(data=orjson.dumps(row.data).decode()))
    body = encode_envelope(mail.envelope.topic, [encode_pack(head, [text])])
    return Mail(mail.to, mail.envelope._replace(signals=1, body=body))


def _word(mail: Mail, head: PackHeader, row: SignalRow[Any]) -> str | None:
    """A signal's name in the model."""
    topic = mail.envelope.topic
    kind, _, name = topic.partition(".")
    again = AGAIN if row.again else ""
    if topic == "answer":
        return f"Answer({row.data['participant']})"
    if kind == "refusal":
        said = f"StepFailed({row.data['step'].partition('.')[2]})" if name == "StepFailed" else name
        return f"{said}!{again}"
    if kind == "signal":
        return f"retry {head.step}{again}" if mail.envelope.recipient and head.step else name + again
    return None if topic in UNNOTICED else topic
