"""What the broker gave up comes to the one desk too, raw."""

from __future__ import annotations

from uuid import UUID

from ordersaga.celery.dead_letters import DeadMessage
from ordersaga.celery.messages import redeliveries
from ordersaga.envelope import digest, read_rows
from ordersaga.errors import EnvelopeError
from workers.audit.writer import Letter, audit, write_dead_letters


def keep(message: DeadMessage) -> None:
    """Write a dead message down; returns once it is committed, so that the broker may forget it."""
    letter = Letter(
        source="unheard" if message.unheard else "broker",
        key=f"{message.properties.get('message_id') or ''} {message.headers.get('id') or ''} {digest(message.body)}",
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
        write_dead_letters([letter], tx.db)


def _saga(body: bytes) -> str | None:
    """The saga of a lone signal, if it is an id at all: nothing vouches for what died here. Of many it is in
    the body.
    """
    try:
        [row] = read_rows(body)
        return str(UUID(row.saga))
    except (EnvelopeError, ValueError, AttributeError, TypeError):
        return None
