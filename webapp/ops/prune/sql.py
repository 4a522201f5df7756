"""The statements of prune. They lock rows in one order, so that two prunes wait for each other."""

MOVE_HORIZON = """
UPDATE ops_horizon SET forgotten = now() - %s WHERE forgotten < now() - %s
"""
READ_HORIZON = "SELECT greatest(forgotten, now() - %s) FROM ops_horizon"

# The next sagas of the initiator's journal, read by its index. (ORDER BY the output name would sort the whole
# journal by text.)
NEXT_SAGAS = (
    "SELECT j.saga_id::text FROM ordersaga_journal j WHERE j.saga_id > %s GROUP BY j.saga_id ORDER "
    "BY j.saga_id LIMIT %s"
)

# A dead letter keeps its sagas: while it is open, an operator may replay it, and after a replay its message
# may be in progress until the dead letter is deleted itself, see DELETE_DEAD_LETTERS.
_KEEPS = "(d.outcome IS NULL OR d.settled_at >= %(horizon)s)"
CREATE_KEPT = "CREATE TEMP TABLE IF NOT EXISTS prune_kept (saga_id uuid PRIMARY KEY); TRUNCATE prune_kept"
KEPT_MESSAGES = f"SELECT d.body FROM audit_deadletter d WHERE d.saga_id IS NULL AND {_KEEPS}"  # noqa: S608 - a constant
INSERT_KEPT = "INSERT INTO prune_kept SELECT unnest(%s::uuid[]) ON CONFLICT DO NOTHING"

# Ended before the horizon, without later events, and not kept by a dead letter.
PRUNABLE = f"""
SELECT s.id::text FROM ordersaga_saga s WHERE s.id = ANY(%(sagas)s::uuid[]) AND s.ended_at < %(horizon)s
AND NOT EXISTS (SELECT FROM audit_sagaevent e WHERE e.saga_id = s.id AND e.heard_at >= %(horizon)s)
AND NOT EXISTS (SELECT FROM audit_deadletter d WHERE d.saga_id = s.id AND {_KEEPS})
AND NOT EXISTS (SELECT FROM prune_kept k WHERE k.saga_id = s.id)
ORDER BY s.id
"""  # noqa: S608 - a constant

# At any participant.
UNSETTLED = """
SELECT saga_id::text FROM ordersaga_journal
WHERE saga_id = ANY(%(sagas)s::uuid[]) AND (state IN ('retrying', 'intent', 'undoing', 'cornered') OR at >=
    %(horizon)s)
UNION SELECT saga_id::text FROM ordersaga_dead_letter WHERE saga_id = ANY(%(sagas)s::uuid[])
AND state = 'open'
UNION SELECT saga_id::text FROM ordersaga_outbox WHERE saga_id = ANY(%(sagas)s::uuid[])
"""

DELETE_JOURNAL = """
WITH gone AS (
    SELECT saga_id, step FROM ordersaga_journal WHERE saga_id = ANY(%(sagas)s::uuid[])
    ORDER BY saga_id, step FOR UPDATE
)
DELETE FROM ordersaga_journal j USING gone WHERE j.saga_id = gone.saga_id AND j.step = gone.step
"""
DELETE_PARTICIPANT_DEAD_LETTERS = """
WITH gone AS (
    SELECT id FROM ordersaga_dead_letter WHERE saga_id = ANY(%(sagas)s::uuid[]) AND state <> 'open'
    ORDER BY id FOR UPDATE
)
DELETE FROM ordersaga_dead_letter d USING gone WHERE d.id = gone.id
"""
DELETE_ANSWERS = """
WITH gone AS (
    SELECT saga_id, participant FROM ordersaga_answer WHERE saga_id = ANY(%(sagas)s::uuid[])
    ORDER BY saga_id, participant FOR UPDATE
)
DELETE FROM ordersaga_answer a USING gone WHERE a.saga_id = gone.saga_id AND a.participant = gone.participant
"""
ALLOW_DELETES = "SELECT set_config('ordersaga.pruning', 'on', true)"
DELETE_EVENTS = """
WITH gone AS (SELECT id FROM audit_sagaevent WHERE saga_id = ANY(%(sagas)s::uuid[]) ORDER BY id FOR UPDATE)
DELETE FROM audit_sagaevent e USING gone WHERE e.id = gone.id
"""
# The order stays, so its key is replaced by a unique one; orders with such a key are refused.
REPLACE_KEYS = """
WITH spent AS (SELECT id FROM orders_order WHERE saga_id = ANY(%(sagas)s::uuid[]) ORDER BY id FOR UPDATE)
UPDATE orders_order o SET idempotency_key = 'forgotten:' || o.id FROM spent
WHERE o.id = spent.id AND o.idempotency_key <> 'forgotten:' || o.id
"""

# The settled dead letters of all sagas.
DELETE_DEAD_LETTERS = """
WITH gone AS (
    SELECT id FROM audit_deadletter WHERE outcome IS NOT NULL AND settled_at < %(horizon)s
    ORDER BY id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
DELETE FROM audit_deadletter d USING gone WHERE d.id = gone.id
"""
COUNT_DEAD_LETTERS = (
    "SELECT count(*) FROM audit_deadletter WHERE outcome IS NOT NULL AND settled_at < %(horizon)s"
)

# Packs are numbered in the order of their creation. The scan ends at the first recent one.
NEXT_PACKS = (
    "SELECT id, created_at < %(horizon)s FROM ordersaga_pack WHERE id > %(after)s ORDER BY id LIMIT %(batch)s"
)
REFERENCED_PACKS = """
SELECT pack_id FROM ordersaga_journal WHERE pack_id <= %(last)s
UNION SELECT pack_id FROM ordersaga_outbox WHERE pack_id <= %(last)s
UNION SELECT pack_id FROM ordersaga_saga WHERE ended_at IS NULL AND pack_id <= %(last)s
"""
DELETE_PACKS = """
WITH gone AS (
    SELECT id, topic FROM ordersaga_pack WHERE id = ANY(%(packs)s::bigint[])
    ORDER BY id, topic FOR UPDATE SKIP LOCKED
)
DELETE FROM ordersaga_pack p USING gone WHERE p.id = gone.id AND p.topic = gone.topic
"""

COUNTS = {
    "journal rows": "SELECT count(*) FROM ordersaga_journal WHERE saga_id = ANY(%(sagas)s::uuid[])",
    "dead letters of participants": (
        "SELECT count(*) FROM ordersaga_dead_letter WHERE saga_id = ANY(%(sagas)s::uuid[]) AND state <> "
        "'open'"
    ),
}
ORDERS_COUNTS = {
    "answers": "SELECT count(*) FROM ordersaga_answer WHERE saga_id = ANY(%(sagas)s::uuid[])",
    "audit events": "SELECT count(*) FROM audit_sagaevent WHERE saga_id = ANY(%(sagas)s::uuid[])",
    "keys": (
        "SELECT count(*) FROM orders_order WHERE saga_id = ANY(%(sagas)s::uuid[]) AND idempotency_key !~ "
        "'^forgotten:'"
    ),
}
