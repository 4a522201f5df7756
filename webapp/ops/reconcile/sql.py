"""SQL that yields one row of facts per saga from each database, sorted by saga.

Each branch of a UNION reads one table and leaves the columns of others NULL; the outer query aggregates the
facts of a saga. Every branch reads its table in the order of an index on the saga, so PostgreSQL merges the
branches without a sort and streams millions of sagas. ``{these}`` is empty, or restricts a branch to
suspects.

Texts have the same form on all sides, so that agreement is equality: goods are ``SKU*quantity``, money is
``account amount currency``, journals are ``step=state``, or ``step=refused:Refusal``.
"""

from __future__ import annotations

THESE = "WHERE {column} = ANY(%(sagas)s::uuid[])"

# A refused row also lists the refusals of its pack; other rows do not read packs.
JOURNAL = """
        step || '=' || state || CASE state WHEN 'refused' THEN coalesce((SELECT string_agg(':' ||
        substr(topic, 9), '')
            FROM ordersaga_pack WHERE id = pack_id AND topic LIKE 'refusal.%%'), '') ELSE '' END"""

# Audit events do not count for the age of the facts, because they may arrive late.
ORDERS = """
SELECT saga_id::text,
    extract(epoch FROM now() - max(at))::float8, extract(epoch FROM now() - max(deadline_at))::float8,
    string_agg(number, ' '), string_agg(bill, ' '), string_agg(goods, ' '),
    string_agg(status, ' '), string_agg(flags, ' '), string_agg(journal, ' '), string_agg(answer, ' '),
    string_agg(heard, '|'), string_agg(timer, ' ')
FROM (
    (SELECT id AS saga_id, greatest(started_at, moved_at, ended_at) AS at, deadline_at,
        NULL::text AS number, NULL::text AS bill, NULL::text AS goods,
        name || '|' || status || '|' || CASE WHEN ended_at IS NULL THEN ''
            WHEN ended_at < (SELECT forgotten FROM ops_horizon) THEN 'forgotten' ELSE 'ended' END || '|'
            || CASE WHEN ended_at IS NULL AND greatest(deadline_at, moved_at) + %(grace)s < now()
                THEN 'overdue' ELSE '' END || '|'
            || coalesce(refusal, '') || '|' || coalesce(refused_by, '') || '|' ||
            array_to_string(participants, ' ')
            AS status,
        NULL::text AS flags, NULL::text AS journal, NULL::text AS answer, NULL::text AS heard,
        NULL::text AS timer
    FROM ordersaga_saga {sagas} ORDER BY 1)
    UNION ALL
    (SELECT o.saga_id, greatest(o.placed_at, o.confirmed_at, c.asked_at, c.answered_at), NULL,
        o.id::text, CASE WHEN o.amount = 0 THEN ''
            ELSE 'wallet:' || o.customer || ' ' || o.amount || ' ' || o.currency END,
        l.goods, NULL,
        CASE WHEN o.confirmed_at IS NULL THEN '' ELSE 'confirmed' END || '|'
            || CASE WHEN c.order_id IS NULL THEN '' ELSE coalesce(c.outcome, 'asked') END || '|'
            || CASE WHEN l.amount = o.amount THEN '' ELSE 'wrong sum' END,
        NULL, NULL, NULL, NULL
    FROM orders_order o LEFT JOIN orders_cancelrequest c ON c.order_id = o.id
    LEFT JOIN LATERAL (
        SELECT string_agg(sku || '*' || quantity, ' ' ORDER BY number) AS goods, coalesce(sum(amount), 0) AS
        amount
        FROM orders_orderline WHERE order_id = o.id
    ) AS l ON true {these} ORDER BY 1)
    UNION ALL
    (SELECT saga_id, at, NULL, NULL, NULL, NULL, NULL, NULL, {journal}, NULL, NULL, NULL
    FROM ordersaga_journal {these} ORDER BY 1)
    UNION ALL
    (SELECT saga_id, at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, participant, NULL, NULL
    FROM ordersaga_answer {these} ORDER BY 1)
    UNION ALL
    (SELECT saga_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        CASE kind WHEN 'refusal' THEN participant || '!' ELSE participant || '.' || name END, NULL
    FROM audit_sagaevent {these} ORDER BY 1)
    UNION ALL
    (SELECT saga_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, kind
    FROM ordersaga_outbox {present} ORDER BY 1)
) AS fact GROUP BY fact.saga_id ORDER BY fact.saga_id
"""

# For goods held, released and shipped, reservations minus movements must be zero; SKUs are summed by hash.
INVENTORY = """
SELECT saga_id::text, extract(epoch FROM now() - max(at))::float8,
    CASE WHEN min(number) = max(number) THEN max(number) ELSE min(number) || ' ' || max(number) END,
    string_agg(goods, ' '), string_agg(state, ' '), string_agg(movement, ' '),
    coalesce(sum(held), 0) <> 0 OR coalesce(sum(released), 0) <> 0 OR coalesce(sum(shipped), 0) <> 0,
    string_agg(journal, ' ')
FROM (
    (SELECT saga_id, at, order_number COLLATE "C" AS number, sku || '*' || quantity AS goods, state,
        NULL::text AS movement, hashtext(sku)::bigint * quantity AS held,
        CASE WHEN state = 'released' THEN hashtext(sku)::bigint * quantity END AS released,
        CASE WHEN state = 'shipped' THEN hashtext(sku)::bigint * quantity END AS shipped, NULL::text AS
        journal
    FROM reservation {these} ORDER BY 1)
    UNION ALL
    (SELECT saga_id, at, NULL, NULL, NULL, kind || ':' || sku || '*' || quantity,
        CASE WHEN kind = 'held' THEN -hashtext(sku)::bigint * quantity END,
        CASE WHEN kind = 'released' THEN -hashtext(sku)::bigint * quantity END,
        CASE WHEN kind = 'shipped' THEN -hashtext(sku)::bigint * quantity END, NULL
    FROM movement {present} ORDER BY 1)
    UNION ALL
    (SELECT saga_id, at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, {journal}
    FROM ordersaga_journal {these} ORDER BY 1)
) AS fact GROUP BY fact.saga_id ORDER BY fact.saga_id
"""

PAYMENTS = """
SELECT saga_id::text, extract(epoch FROM now() - max(at))::float8,
    CASE WHEN min(number) = max(number) THEN max(number) ELSE min(number) || ' ' || max(number) END,
    string_agg(money, ' ') FILTER (WHERE kind = 'charge'), string_agg(money, ' ') FILTER (WHERE kind =
    'refund'),
    string_agg(kind, ' '), string_agg(journal, ' ')
FROM (
    (SELECT t.saga_id, t.at, t.order_number COLLATE "C" AS number, t.kind, coalesce(e.money, '') AS money,
        NULL::text AS journal
    FROM ledger_transaction t LEFT JOIN LATERAL (
        SELECT string_agg(account || ' ' || CASE WHEN t.kind = 'charge' THEN -amount ELSE amount END || ' '
        || currency,
            ' ' ORDER BY account) AS money
        FROM ledger_entry WHERE transaction_id = t.id AND account LIKE 'wallet:%%'
    ) AS e ON true {present} ORDER BY 1)
    UNION ALL
    (SELECT saga_id, at, NULL, NULL, NULL, {journal} FROM ordersaga_journal {these} ORDER BY 1)
) AS fact GROUP BY fact.saga_id ORDER BY fact.saga_id
"""

SURVEY = {"orders": ORDERS, "inventory": INVENTORY, "payments": PAYMENTS}


def survey_sql(database: str) -> str:
    """Return the statement for all sagas of a database; its parameter is ``grace`` (an interval)."""
    return SURVEY[database].format(sagas="", these="", present="WHERE saga_id IS NOT NULL", journal=JOURNAL)


def suspects_sql(database: str) -> str:
    """Return the statement for some sagas of a database; its parameters are ``grace`` and ``sagas``."""
    these = THESE.format(column="saga_id")
    return SURVEY[database].format(
        sagas=THESE.format(column="id"), these=these, present=these, journal=JOURNAL
    )
