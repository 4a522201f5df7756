"""Statements on the journal. All lock rows in the order of saga and step, so that workers do not deadlock."""

from ordersaga.sql import AMONG

# The insert waits for a rival's commit; the rows that it skips must then be read (docs/PROTOCOL.md, rule 3).
BEGIN = """
WITH pack AS (SELECT nextval('ordersaga_pack_id') AS id)
INSERT INTO ordersaga_journal (saga_id, step, state, pack_id)
SELECT saga, %s, 'done', pack.id FROM unnest(%s::uuid[]) AS saga, pack ORDER BY saga
ON CONFLICT DO NOTHING RETURNING saga_id::text, pack_id
"""

NEXT_PACK = "SELECT nextval('ordersaga_pack_id')"

LOCK = f"""
SELECT saga_id::text, state, attempts, pack_id FROM ordersaga_journal
WHERE step = %s AND {AMONG} ORDER BY saga_id FOR UPDATE
"""

SET_STATE = f"UPDATE ordersaga_journal SET state = %s, at = now() WHERE step = %s AND {AMONG}"

RESUME = f"UPDATE ordersaga_journal SET state = 'done', pack_id = %s, at = now() WHERE step = %s AND {AMONG}"

# For rows of this transaction whose signals are in a further pack, because the first is full.
MOVE_PACK = f"UPDATE ordersaga_journal SET pack_id = %s WHERE pack_id = %s AND {AMONG}"

COUNT_ATTEMPT = """
INSERT INTO ordersaga_journal (saga_id, step, state, attempts) VALUES (%s, %s, 'retrying', 1)
ON CONFLICT (saga_id, step) DO UPDATE SET attempts = ordersaga_journal.attempts + 1, at = now()
WHERE ordersaga_journal.state = 'retrying' RETURNING attempts
"""

GIVE_UP = """
UPDATE ordersaga_journal SET state = 'refused', pack_id = %s, at = now()
WHERE saga_id = %s AND step = %s AND state = 'retrying'
"""

RECORD_REFUSAL = """
INSERT INTO ordersaga_journal (saga_id, step, state)
SELECT saga, %s, 'heard' FROM unnest(%s::uuid[]) AS saga ORDER BY saga
ON CONFLICT DO NOTHING RETURNING saga_id::text
"""

BAR = """
INSERT INTO ordersaga_journal (saga_id, step, state)
SELECT saga, step, 'barred' FROM unnest(%s::uuid[]) AS saga, unnest(%s::text[]) AS step ORDER BY saga, step
ON CONFLICT DO NOTHING RETURNING saga_id::text, step
"""

# Selects by the participant's name, because this release may not declare the step of a row.
LOCK_ALL = f"""
SELECT saga_id::text, step, state, attempts, pack_id FROM ordersaga_journal
WHERE {AMONG} AND starts_with(step, %s) AND state <> 'heard' ORDER BY saga_id, step FOR UPDATE
"""

READ_ALL = f"""
SELECT saga_id::text, step, state, attempts, pack_id FROM ordersaga_journal
WHERE {AMONG} AND starts_with(step, %s)
"""

IN_PROGRESS = f"""
SELECT step, count(*) FROM ordersaga_journal
WHERE {AMONG} AND starts_with(step, %s) AND NOT step = ANY(%s::text[])
    AND state IN ('retrying', 'intent', 'done', 'undoing', 'cornered')
GROUP BY step
"""

COUNT_UNDO_ATTEMPT = """
UPDATE ordersaga_journal SET attempts = attempts + 1, at = now()
WHERE saga_id = %s AND step = ANY(%s::text[]) AND state = 'undoing' RETURNING attempts
"""

PACKS = "SELECT id, topic, payload FROM ordersaga_pack WHERE id = ANY(%s::bigint[])"

# Leaves out packs that the participant's outbox has yet to publish.
PUBLISHED_PACKS = """
SELECT id, topic, payload FROM ordersaga_pack p WHERE id = ANY(%s::bigint[]) AND NOT EXISTS (
    SELECT FROM ordersaga_outbox o
    WHERE o.participant = %s AND o.pack_id = p.id AND o.topic = p.topic AND o.recipient IS NULL
)
"""

DEAD_LETTER = """
INSERT INTO ordersaga_dead_letter
    (participant, saga_id, step, topic, signal, error, message, traceback, attempts)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (saga_id, step) DO NOTHING
"""

SETTLE_DEAD_LETTER = """
UPDATE ordersaga_dead_letter SET state = %s WHERE saga_id = %s AND step = %s AND state = 'open'
RETURNING topic, signal
"""
