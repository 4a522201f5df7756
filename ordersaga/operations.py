"""What an operator may do: wake a saga that needs attention, and settle dead letters.

Every act is recorded in the transaction open on the initiator's database, like any signal; what concerns
another participant is addressed to it. Each is safe when done twice, and is told in the saga's story with its
reason and who did it.
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
from ordersaga.sql import saga as sql
from ordersaga.sql.outbox import OBSERVERS

logger = logging.getLogger(__name__)

Decision = Literal["replayed", "discarded"]


@dataclass(frozen=True)
class Operations:
    """What operators may do with sagas of one kind.

    :ivar observers: the names of the participants that observe; without any, no notice is emitted.
    """

    saga: Saga
    observers: Sequence[str] = ()

    def resume(self, saga: SagaId, *, db: object, by: str, reason: str) -> bool:
        """Take the flag *needs attention* off and remind the saga now of what it waits for.

        The reminder tries failing undos and deciding steps at once; the vain rounds are counted anew.

        :param db: a Django connection, SQLAlchemy session or psycopg connection of the initiator's database.
        :returns: False when the saga has ended or needs no attention (any more): nothing was done.
        :raises NoTransaction: when no transaction is open.
        """
        cursor = borrow(db)
        cursor.execute(sql.RESUME, [str(UUID(saga))])
        if cursor.fetchone() is None:
            return False
        outbox = self._outbox()
        # marked *again*: a saga that has moved just now is reminded, too
        row: SignalRow[Any] = SignalRow(new_id(), str(UUID(saga)), None, 1, outbox.now, 1, None, None, {})
        outbox.forward(row, outbox.header, WATCHDOG, to=self.saga.initiator)
        outbox.notice(saga, None, "resumed", reason=reason, by=by)
        outbox.flush(cursor)
        return True

    def send_again(self, topic: str, body: bytes, *, to: str | None, db: object, by: str, reason: str) -> int:
        """Say the signals of a dead envelope once more, each alone and marked *again*; gives how many.

        Journals absorb what was done meanwhile, and a saga that has turned is not disturbed. What only
        observers hear goes to them as it was, with the ids by which they know what they have, and is no event
        of its own in a saga's story. The caller has made sure that the envelope is genuine
        (:meth:`Keyring.verify`): it is signed anew.

        :param to: the participant where it died, or its former recipient; None for all who hear the topic.
        :raises EnvelopeError: when the body is no envelope.
        :raises NoTransaction: when no transaction is open.
        """
        packs, cursor = read_packs(body), borrow(db)
        outbox, observed = self._outbox(), self.only_observed(topic, to)
        for header, rows in packs:
            if observed:
                outbox.forward_together(rows, header, topic, to=to)
                continue
            for row in rows:
                outbox.forward(row._replace(again=1), header, topic, to=to)
                outbox.notice(
                    row.saga, row, "sent again", reason=reason, id_=new_id(), by=by, topic=topic, to=to
                )
        outbox.flush(cursor)
        return sum(len(rows) for _, rows in packs)

    def only_observed(self, topic: str, to: str | None) -> bool:
        """Whether an envelope that is sent again reaches observers alone, so that no saga is moved by it."""
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
        """Ask a participant to settle one of its dead letters; it tells in the saga's story what it did.

        :raises NoTransaction: when no transaction is open.
        """
        cursor = borrow(db)
        outbox = self._outbox()
        data = {"step": step, "decision": decision, "by": by}
        row = SignalRow(new_id(), str(UUID(saga)), None, 1, outbox.now, 0, None, reason, data)
        outbox.forward(row, outbox.header, SETTLE_DEAD_LETTER, to=participant)
        outbox.flush(cursor)

    def resume_step(self, step: str, *, participant: str, db: object, by: str, reason: str) -> None:
        """Ask a participant to resume a step that is paused because it failed for every saga; its signals
        come back at once.

        A step that still fails is paused again. Nothing happens when the step is not paused.

        :param step: its key, such as ``payments.charge``.
        :raises NoTransaction: when no transaction is open.
        """
        cursor = borrow(db)
        outbox = self._outbox()
        row = SignalRow(new_id(), NO_SAGA, None, 1, outbox.now, 0, None, reason, {"step": step, "by": by})
        outbox.forward(row, outbox.header, RESUME_STEP, to=participant)
        outbox.flush(cursor)

    def note(self, saga: SagaId, what: str, *, db: object, by: str, reason: str) -> None:
        """Tell an operator's act in the saga's story; nothing else comes of it.

        :raises NoTransaction: when no transaction is open.
        """
        cursor = borrow(db)
        outbox = self._outbox()
        outbox.notice(str(UUID(saga)), None, what, reason=reason, by=by)
        outbox.flush(cursor)

    def _outbox(self) -> Outbox:
        return Outbox(PackHeader(self.saga.initiator, None, None, 1), notices=bool(self.observers))


def resume_steps(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """A participant resumes steps, as it was asked to. Each of its processes learns of it with the next
    envelope.
    """
    steps = {step.key: step for step in context.participant.steps.values()}
    for row in rows:
        if (step := steps.get(row.data["step"])) is not None:
            resumed = paused_steps.resume(context, step)
            if resumed:
                fields = {"step": step.key, "by": row.data["by"], "reason": row.reason}
                logger.warning(LogEvent("step_resumed", "An operator resumed the step.", **fields))


def settle_letters(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """A participant settles its dead letters as it was asked to; one that was settled before stays as it is.

    One to be replayed is heard again like any late copy, marked *again*: the journal decides what may still
    happen.
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
