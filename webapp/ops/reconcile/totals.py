"""Checks of a whole database. Each reads one snapshot, so a disagreement is a violation at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from webapp.ops.reconcile.codes import Violation
from webapp.ops.reconcile.rules import SAGA_NAME
from webapp.ops.reconcile.rules.journals import EMITTED_BY, FIRST_SIGNAL
from webapp.ops.reconcile.snapshots import DATABASES, Snapshot, Snapshots

COUNTS = {
    "orders": ("SELECT count(*) FROM orders_order", "orders"),
    "inventory": ("SELECT count(*) FROM product", "SKUs"),
    "payments": ("SELECT count(*) FROM wallet", "wallets"),
}

# Per SKU: the counters, and their sums over reservations and movements.
SKUS = """
SELECT sku, p.sku IS NOT NULL, coalesce(p.received, 0), coalesce(p.on_hand, 0), coalesce(p.held, 0),
    coalesce(p.sold, 0), coalesce(r.held, 0)::bigint, coalesce(r.sold, 0)::bigint, coalesce(m.received,
    0)::bigint,
    coalesce(m.held, 0)::bigint, coalesce(m.released, 0)::bigint, coalesce(m.shipped, 0)::bigint,
    extract(epoch FROM now() - greatest(r.at, m.at))::float8
FROM product p
FULL JOIN (SELECT sku, sum(quantity) FILTER (WHERE state = 'held') AS held,
    sum(quantity) FILTER (WHERE state = 'shipped') AS sold, max(at) AS at
    FROM reservation GROUP BY sku) AS r USING (sku)
FULL JOIN (SELECT sku, sum(quantity) FILTER (WHERE kind = 'received') AS received,
    sum(quantity) FILTER (WHERE kind = 'held') AS held, sum(quantity) FILTER (WHERE kind = 'released') AS
    released,
    sum(quantity) FILTER (WHERE kind = 'shipped') AS shipped, max(at) AS at
    FROM movement GROUP BY sku) AS m USING (sku)
WHERE p.on_hand IS DISTINCT FROM p.received - p.held - p.sold
    OR p.held IS DISTINCT FROM coalesce(r.held, 0) OR p.sold IS DISTINCT FROM coalesce(r.sold, 0)
    OR p.received IS DISTINCT FROM coalesce(m.received, 0) OR p.sold IS DISTINCT FROM coalesce(m.shipped, 0)
    OR p.held IS DISTINCT FROM coalesce(m.held, 0) - coalesce(m.released, 0) - coalesce(m.shipped, 0)
ORDER BY sku
"""

UNBALANCED = """
SELECT b.transaction_id, b.currency, b.amount::bigint, t.kind, t.order_number, t.saga_id::text,
    extract(epoch FROM now() - t.at)::float8
FROM (SELECT transaction_id, currency, sum(amount) AS amount FROM ledger_entry
GROUP BY transaction_id, currency
    HAVING sum(amount) <> 0) AS b
LEFT JOIN ledger_transaction t ON t.id = b.transaction_id ORDER BY b.transaction_id
"""

ACCOUNTS = """
SELECT t.id, t.kind, e.account, e.amount, e.currency, t.order_number, t.saga_id::text,
    extract(epoch FROM now() - t.at)::float8
FROM ledger_entry e JOIN ledger_transaction t ON t.id = e.transaction_id
WHERE NOT CASE
    WHEN e.account LIKE 'wallet:%' THEN (t.kind = 'charge') = (e.amount < 0)
    WHEN e.account = 'sales' THEN t.kind <> 'top_up' AND (t.kind = 'charge') = (e.amount > 0)
    WHEN e.account = 'funding' THEN t.kind = 'top_up' AND e.amount < 0
    ELSE false END
ORDER BY t.id, e.account
"""

WALLETS = """
SELECT coalesce('wallet:' || w.customer, e.account), w.balance, w.currency, coalesce(e.amount, 0)::bigint,
    e.currency
FROM wallet w FULL JOIN (SELECT account, currency, sum(amount) AS amount FROM ledger_entry
    WHERE account LIKE 'wallet:%' GROUP BY account, currency) AS e
    ON e.account = 'wallet:' || w.customer AND e.currency = w.currency
WHERE w.balance IS DISTINCT FROM coalesce(e.amount, 0) ORDER BY 1
"""

STALLED = """
SELECT participant, topic, count(*), extract(epoch FROM now() - min(due_at))::float8
FROM ordersaga_outbox WHERE due_at + %(grace)s < now() GROUP BY participant, topic ORDER BY participant, topic
"""


def _topic(signal: str) -> str:
    """Return the topic of a signal that is named with its participant."""
    return f"signal.{signal.partition('.')[2]}"


# The topic that a pack must have, by the row that refers to it; for a refused step any refusal.
_PACKS = """
SELECT pack_id, topic, count(*), min(saga_id), extract(epoch FROM now() - max(at))::float8
FROM (
    SELECT pack_id, says.topic, saga_id::text, at FROM ordersaga_journal
    JOIN (VALUES {says}) AS says (step, topic) USING (step) WHERE state IN ('done', 'undoing', 'undone')
    UNION ALL
    SELECT pack_id, 'refusal.', saga_id::text, at FROM ordersaga_journal WHERE state = 'refused'
    UNION ALL
    SELECT pack_id, topic, saga_id::text, created_at FROM ordersaga_outbox WHERE pack_id IS NOT NULL
    {more}
) AS referring
WHERE NOT EXISTS (SELECT FROM ordersaga_pack p WHERE p.id = pack_id AND starts_with(p.topic, referring.topic))
GROUP BY pack_id, topic ORDER BY pack_id, topic
"""
# Pruning deletes the first pack of an ended saga by the age of the pack, not of the saga.
_SAGAS = f"""
    UNION ALL
    SELECT pack_id, '{_topic(FIRST_SIGNAL)}', id::text, started_at FROM ordersaga_saga
    WHERE name = '{SAGA_NAME}' AND (ended_at IS NULL OR started_at >= (SELECT forgotten FROM ops_horizon))
"""  # noqa: S608 - of constants
_SAYS = ", ".join(f"('{step}', '{_topic(signal)}')" for step, signal in EMITTED_BY.items())
PACKS = {name: _PACKS.format(says=_SAYS, more=_SAGAS if name == "orders" else "") for name in DATABASES}

OPEN_DEAD_LETTERS = "SELECT count(*) FROM ordersaga_dead_letter WHERE state = 'open'"
OPEN_BROKER_DEAD_LETTERS = "SELECT count(*) FROM audit_deadletter WHERE source <> 'participant'"
ATTENTION = (
    "SELECT count(*), min(attention) FROM ordersaga_saga WHERE attention IS NOT NULL AND ended_at IS NULL"
)


def count_rows(snapshots: Snapshots) -> dict[str, int]:
    """Count orders, SKUs and wallets."""
    return {what: int(snapshots.snapshots[name].rows(count)[0][0]) for name, (count, what) in COUNTS.items()}


def check_stock(inventory: Snapshot) -> Iterator[Violation]:
    """Check on hand + held + sold = received, and each counter against reservations and movements."""
    for row in inventory.rows(SKUS):
        (
            sku,
            known,
            received,
            on_hand,
            held,
            sold,
            r_held,
            r_sold,
            m_in,
            m_held,
            m_released,
            m_shipped,
            age,
        ) = row
        product = {"SKU": sku, "product": f"on hand {on_hand}, held {held}, sold {sold}, received {received}"}
        if not known:
            product["product"] = "unknown"
        if on_hand + held + sold != received:
            yield Violation("stock-lost", {**product, "sum": str(on_hand + held + sold)}, age)
        if not known or (held, sold) != (r_held, r_sold):
            yield Violation(
                "product-not-its-reservations",
                {**product, "reservations": f"held {r_held}, shipped {r_sold}"},
                age,
            )
        if not known or (received, held, sold) != (m_in, m_held - m_released - m_shipped, m_shipped):
            moved = f"received {m_in}, held {m_held}, released {m_released}, shipped {m_shipped}"
            yield Violation("product-not-its-movements", {**product, "movements": moved}, age)


def check_ledger(payments: Snapshot) -> Iterator[Violation]:
    """Check that each transaction sums to zero per currency on valid accounts, and wallets equal their
    entries.
    """
    for number, currency, amount, kind, order, saga, age in payments.rows(UNBALANCED):
        evidence = {
            "transaction": f"{number} ({kind or 'no row'})",
            "sum of its entries": f"{amount} {currency}",
        }
        yield Violation("transaction-unbalanced", evidence, age, order, saga)
    for number, kind, account, amount, currency, order, saga, age in payments.rows(ACCOUNTS):
        evidence = {"transaction": f"{number} ({kind})", "account": f"{account} {amount} {currency}"}
        yield Violation("ledger-account-wrong", evidence, age, order, saga)
    for account, balance, currency, amount, entered in payments.rows(WALLETS):
        wallet = "no row" if balance is None else f"{balance} {currency}"
        entries = {"wallet": wallet, "entries": f"{amount} {entered or currency}"}
        yield Violation("wallet-not-its-entries", {"account": account, **entries})


def check_packs(snapshots: Snapshots) -> Iterator[Violation]:
    """Check that packs exist while rows refer to them, because undos and re-sent signals read them."""
    for name, snapshot in snapshots.snapshots.items():
        for pack, topic, rows, saga, age in snapshot.rows(PACKS[name]):
            referring = f"{rows} row(s)" + (f", such as of saga {saga}" if saga else "")
            evidence = {"database": name, "pack": f"{pack} ({topic})", "referred to by": referring}
            yield Violation("pack-missing", evidence, age)


def check_outboxes(snapshots: Snapshots, grace: timedelta) -> Iterator[Violation]:
    """Check that due rows are published."""
    for name, snapshot in snapshots.snapshots.items():
        for participant, topic, rows, age in snapshot.rows(STALLED, {"grace": grace}):
            evidence = {"database": name, "participant": participant, "topic": topic, "rows": str(rows)}
            yield Violation("outbox-stalled", evidence, age)


def find_warnings(snapshots: Snapshots) -> Iterator[str]:
    """Yield what is no violation but needs an operator."""
    count, why = snapshots.snapshots["orders"].rows(ATTENTION)[0]
    if count:
        yield f"{count:,} saga(s) need attention, such as: {why}"
    for name, snapshot in snapshots.snapshots.items():
        if letters := snapshot.rows(OPEN_DEAD_LETTERS)[0][0]:
            yield f"{letters:,} open dead letter(s) in the {name} database"
    if letters := snapshots.snapshots["orders"].rows(OPEN_BROKER_DEAD_LETTERS)[0][0]:
        yield f"{letters:,} dead letter(s) from the broker in the admin"
