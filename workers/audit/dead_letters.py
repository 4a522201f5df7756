"""Store the broker's dead letters with those of the participants, undecoded."""

from __future__ import annotations

from uuid import UUID

from ordersaga.celery.dead_letters import DeadMessage
from ordersaga.celery.message_verification import redeliveries
from ordersaga.envelope import digest, read_rows
from ordersaga.errors import EnvelopeError
from workers.audit.writer import NewDeadLetter, audit, write_dead_letters


def keep(message: DeadMessage) -> None:
    """Store a dead message; when this returns, it is committed and may be acknowledged."""
    message_id = message.properties.get("message_id") or ""
    dead_letter = NewDeadLetter(
        source="unheard" if message.unheard else "broker",
        key=f"{message_id} {message.headers.get('id') or ''} {digest(message.body)}",
        participant=message.queue,
        body=message.body,
        topic=str(message.headers.get("task") or "")[:200],
        saga=_saga(message.body),
        error=message.reason,
        message=f"the broker gave it up: {message.reason}",
        headers={**message.headers, **{f"property {k}": v for k, v in message.properties.items()}},
        attempts=redeliveries(message.headers) + 1,
    )
    with audit.database.begin() as tx:
        write_dead_letters([dead_letter], tx.db)


def _saga(body: bytes) -> str | None:
    """The saga of an envelope with one signal, if it is a valid id: the message is not verified."""
    try:
        [row] = read_rows(body)
        return str(UUID(row.saga))
    except (EnvelopeError, ValueError, AttributeError, TypeError):
        return None
