"""Ages sagas, and prunes them in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tests.support.databases import Databases as Urls
from tests.support.in_process import InProcessSagas
from webapp.ops.prune import Databases, prune

JOURNAL = "SELECT count(*) FROM ordersaga_journal WHERE saga_id = %s"


def age(in_process: InProcessSagas, sagas: Sequence[str], days: int) -> None:
    """Move these sagas, their packs and all sagas' start ``days`` into the past. The triggers that forbid
    changes are disabled for it.
    """
    old = f"interval '{days} days'"
    ask, these = in_process.probe.query, list(sagas)
    for owner in ("orders", "inventory", "payments"):
        ask(owner, "ALTER TABLE ordersaga_journal DISABLE TRIGGER USER")
        ask(owner, f"UPDATE ordersaga_journal SET at = at - {old} WHERE saga_id = ANY(%s::uuid[])", these)
        ask(owner, "ALTER TABLE ordersaga_journal ENABLE TRIGGER USER")
        ask(owner, f"UPDATE ordersaga_pack SET created_at = created_at - {old}")
    heard = f"heard_at = heard_at - {old}"
    ask("orders", "ALTER TABLE audit_sagaevent DISABLE TRIGGER USER")
    ask("orders", f"UPDATE audit_sagaevent SET {heard} WHERE saga_id = ANY(%s::uuid[])", these)
    ask("orders", "ALTER TABLE audit_sagaevent ENABLE TRIGGER USER")
    # All sagas, because all packs: a saga starts in the transaction of its first pack.
    ask("orders", f"UPDATE ordersaga_saga SET started_at = started_at - {old}")
    ended = f"ended_at = ended_at - {old}, moved_at = moved_at - {old}"
    ask("orders", f"UPDATE ordersaga_saga SET {ended} WHERE id = ANY(%s::uuid[])", these)


def opened(urls: Urls) -> Databases:
    return Databases(urls.orders, {"inventory": urls.inventory, "payments": urls.payments})


def pruned(in_process: InProcessSagas, retention: timedelta, **options: Any) -> Counter[str]:
    """Prune; return the deleted rows by kind. Options as for ``prune``."""
    with opened(in_process.probe.databases) as databases:
        return prune(databases, retention, **options).gone


def rows(in_process: InProcessSagas, saga: str) -> dict[str, int]:
    """Count the rows left of a saga by table; tables without any are left out."""
    found = {
        owner: in_process.probe.query(owner, JOURNAL, saga)[0][0]
        for owner in ("orders", "inventory", "payments")
    }
    found["trail"] = len(in_process.probe.audit_trail(saga))
    found["answers"] = len(in_process.probe.answers(saga))
    return {where: count for where, count in found.items() if count}
