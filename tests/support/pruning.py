"""Sagas made old, and pruning on a theatre's databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tests.support.databases import Databases as Urls
from tests.support.in_process import Theatre
from webapp.ops.prune import Databases, prune

JOURNAL = "SELECT count(*) FROM ordersaga_journal WHERE saga_id = %s"


def age(theatre: Theatre, sagas: Sequence[str], days: int) -> None:
    """As if they, and all that is older, had happened so long ago; the audit trail's guards look away for
    that.
    """
    old = f"interval '{days} days'"
    ask, these = theatre.books.ask, list(sagas)
    for owner in ("orders", "inventory", "payments"):
        ask(owner, "ALTER TABLE ordersaga_journal DISABLE TRIGGER USER")
        ask(owner, f"UPDATE ordersaga_journal SET at = at - {old} WHERE saga_id = ANY(%s::uuid[])", these)
        ask(owner, "ALTER TABLE ordersaga_journal ENABLE TRIGGER USER")
        ask(owner, f"UPDATE ordersaga_pack SET created_at = created_at - {old}")
    ask("orders", "ALTER TABLE audit_sagaevent DISABLE TRIGGER USER")
    ask(
        "orders",
        f"UPDATE audit_sagaevent SET heard_at = heard_at - {old} WHERE saga_id = ANY(%s::uuid[])",
        these,
    )
    ask("orders", "ALTER TABLE audit_sagaevent ENABLE TRIGGER USER")
    ask(
        "orders", f"UPDATE ordersaga_saga SET started_at = started_at - {old}"
    )  # written together with its first pack
    ended = f"ended_at = ended_at - {old}, moved_at = moved_at - {old}"
    ask("orders", f"UPDATE ordersaga_saga SET {ended} WHERE id = ANY(%s::uuid[])", these)


def opened(urls: Urls) -> Databases:
    return Databases(urls.orders, {"inventory": urls.inventory, "payments": urls.payments})


def pruned(theatre: Theatre, retention: timedelta, **options: Any) -> Counter[str]:
    """What went; options as for ``prune``."""
    with opened(theatre.books.databases) as databases:
        return prune(databases, retention, **options).gone


def rows(theatre: Theatre, saga: str) -> dict[str, int]:
    """How many rows are remembered of a saga, and where; nothing stands for none."""
    found = {
        owner: theatre.books.ask(owner, JOURNAL, saga)[0][0] for owner in ("orders", "inventory", "payments")
    }
    found["trail"] = len(theatre.books.trail(saga))
    found["answers"] = len(theatre.books.answers(saga))
    return {where: count for where, count in found.items() if count}
