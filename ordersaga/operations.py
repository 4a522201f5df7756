"""Actions of operators: resume a saga or a step, re-send envelopes, settle dead letters.

Each action emits a message in the caller's transaction on the initiator's database; for another participant,
the message is addressed to it. Actions are idempotent, and notices record their reason and the operator.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import orjson

from ordersaga import paused_steps
from ordersaga.batch import SagaId
from ordersaga.database import borrow
from ordersaga.envelope import PackHeader, SignalRow, read_packs
from ordersaga.ids import new_id
from ordersaga.log import LogEvent
from ordersaga.outbox import NOTICE, RESUME_STEP, SETTLE_DEAD_LETTER, WATCHDOG, Outbox
from ordersaga.protocol.context import Context
from ordersaga.saga import Saga
from ordersaga.sql import NO_SAGA
from ordersaga.sql import journal as journal_sql
from ordersaga.sql import saga as saga_sql
from ordersaga.sql.outbox import OBSERVERS

logger = logging.getLogger(__name__)

Decision = Literal["replayed", "discarded"]


@dataclass(frozen=True)
class Operations:
    """The actions of operators on sagas of one kind.

    :ivar observers: the names of the observers; without any, no notice is emitted.
    """

    saga: Saga
    observers: Sequence[str] = ()

    def resume(self, saga: SagaId, *, db: object, by: str, reason: str) -> bool:
        """Remove the flag *needs attention*, and remind the saga now of what it waits for.

        The reminder retries failing undos and deciding steps at once, and the count of rounds starts again.

        :param db: a Django connection, SQLAlchemy session or psycopg connection of the initiator's database.
        :returns: False, without effect, when the saga has ended or does not need attention.
        :raises NoTransaction: when no transaction is open.
        """
        cursor = borrow(db)
        cursor.execute(saga_sql.RESUME, [str(UUID(saga))])
        if cursor.fetchone() is None:
            return False
        outbox = self._outbox()
        # marked *again*, so that the watchdog reminds the saga even if it has just moved
        row: SignalRow[Any] = SignalRow(new_id(), str(UUID(saga)), None, 1, outbox.now, 1, None, None, {})
        outbox.send_row(row, outbox.header, WATCHDOG, to=self.saga.initiator)
        outbox.notice(saga, None, "resumed", reason=reason, by=by)
        outbox.flush(cursor)
        return True

    def send_again(self, topic: str, body: bytes, *, to: str | None, db: object, by: str, reason: str) -> int:
        """Re-send the signals of a dead envelope, each alone and marked *again*; return their number.

        Journals discard what was done meanwhile, and sagas that are rolled back stay so. An envelope that
        only observers consume is re-sent unchanged, and without a notice. The caller must have verified the
        envelope with :meth:`Keyring.verify`, because it receives a new signature.

        :param to: the participant where it died, or its former recipient; None for all consumers.
        :raises EnvelopeError: when the body is not an envelope.
        :raises NoTransaction: when no transaction is open.
        """
        packs, cursor = read_packs(body), borrow(db)
        outbox, observed = self._outbox(), self.only_observed(topic, to)
        for header, rows in packs:
            if observed:
                outbox.send_rows(rows, header, topic, to=to)
                continue
            for row in rows:
                outbox.send_row(row._replace(again=1), header, topic, to=to)
                outbox.notice(
                    row.saga, row, "sent again", reason=reason, id_=new_id(), by=by, topic=topic, to=to
                )
        outbox.flush(cursor)
        return sum(len(rows) for _, rows in packs)

    def only_observed(self, topic: str, to: str | None) -> bool:
        """Whether only observers consume the envelope, so that re-sending it affects no saga."""
        return bool(self.observers) and (
            to in (*self.observers, OBSERVERS) or (to is None and topic == NOTICE)
        )

    def settle(
        self,
        saga: SagaId,
        step: str,
        decision: Decision,
        *,
        participant: str,
        db: object,
        by: str,
        reason: str,
    ) -> None:
        """Ask a participant to settle one of its dead letters; it records a notice of the result.

        :raises NoTransaction: when no transaction is open.
        """
        cursor = borrow(db)
        outbox = self._outbox()
        data = {"step": step, "decision": decision, "by": by}
        row = SignalRow(new_id(), str(UUID(saga)), None, 1, outbox.now, 0, None, reason, data)
        outbox.send_row(row, outbox.header, SETTLE_DEAD_LETTER, to=participant)
        outbox.flush(cursor)

    def resume_step(self, step: str, *, participant: str, db: object, by: str, reason: str) -> None:
        """Ask a participant to resume a paused step; its signals become due at once.

        A step that still fails is paused again. A step that is not paused is not affected.

        :param step: its key, such as ``payments.charge``.
        :raises NoTransaction: when no transaction is open.
        """
        cursor = borrow(db)
        outbox = self._outbox()
        row = SignalRow(new_id(), NO_SAGA, None, 1, outbox.now, 0, None, reason, {"step": step, "by": by})
        outbox.send_row(row, outbox.header, RESUME_STEP, to=participant)
        outbox.flush(cursor)

    def note(self, saga: SagaId, what: str, *, db: object, by: str, reason: str) -> None:
        """Record a notice of an operator's action, without any other effect.

        :raises NoTransaction: when no transaction is open.
        """
        cursor = borrow(db)
        outbox = self._outbox()
        outbox.notice(str(UUID(saga)), None, what, reason=reason, by=by)
        outbox.flush(cursor)

    def _outbox(self) -> Outbox:
        return Outbox(PackHeader(self.saga.initiator, None, None, 1), notices=bool(self.observers))


def resume_steps(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """Resume steps at an operator's request; other processes notice it with their next envelope."""
    steps = {step.key: step for step in context.participant.steps.values()}
    for row in rows:
        if (step := steps.get(row.data["step"])) is not None:
            resumed = paused_steps.resume(context, step)
            if resumed:
                fields = {"step": step.key, "by": row.data["by"], "reason": row.reason}
                logger.warning(LogEvent("step_resumed", "An operator resumed the step.", **fields))


def settle_dead_letters(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """Settle dead letters at an operator's request; one that is settled already does not change.

    A replayed signal is handled like any late copy marked *again*: the journal decides its effect.
    """
    for row in rows:
        step, decision = row.data["step"], row.data["decision"]
        context.cursor.execute(journal_sql.SETTLE_DEAD_LETTER, [decision, row.saga, step])
        found = context.cursor.fetchone()
        if found is None:
            context.outbox.notice(row.saga, row, "dead letter settled before", reason=row.reason, step=step)
            continue
        context.outbox.notice(
            row.saga, row, f"dead letter {decision}", reason=row.reason, step=step, by=row.data["by"]
        )
        if decision == "replayed":
            topic, signal = found
            version, data = orjson.loads(signal)
            again = row._replace(id=new_id(), cause=row.id, version=version, again=1, reason=None, data=data)
            context.outbox.retry(again, context.outbox.header._replace(participant=row.by), topic)
    context.outbox.flush(context.cursor)
