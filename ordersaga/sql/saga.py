"""Statements on the sagas' rows in the initiator's database. Rows are locked in the order of their ids."""

from ordersaga.sql.outbox import RECENTLY_DUE

OPEN = "coalesce(ended_at, 'infinity') = 'infinity'"
"""Condition for sagas that are selected by id.

``ended_at IS NULL`` would match the partial index of open sagas. With statistics from a time of few open
sagas, PostgreSQL would scan that whole index for each envelope of a burst.
"""

# One statement inserts sagas, first signal, deadline and watchdog: its round trip limits the rate of orders.
_START = """
WITH {first}pack AS (
    INSERT INTO ordersaga_pack (id, topic, payload) SELECT nextval('ordersaga_pack_id'), %(topic)s, {payload}
    RETURNING id
), started AS (
    INSERT INTO ordersaga_saga (id, name, participants, pack_id, deadline_at)
    SELECT saga, %(name)s, %(participants)s::text[], pack.id, clock_timestamp() + %(deadline)s
    FROM unnest(%(sagas)s::uuid[]) AS saga, pack
), pack_row AS (
    INSERT INTO ordersaga_outbox (participant, topic, signals, pack_id)
    SELECT %(initiator)s, %(topic)s, %(signals)s, pack.id FROM pack
), timers AS (
    INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, saga_id, signals, payload, due_at)
    SELECT %(initiator)s, timer.kind, timer.topic, %(initiator)s, saga, 1,
        format(%(timer)s, gen_random_uuid(), saga), clock_timestamp() + timer.later
    FROM pack, unnest(%(sagas)s::uuid[]) AS saga, (VALUES
        ('deadline', %(deadline_topic)s, %(deadline)s), ('watchdog', %(watchdog_topic)s, %(watchdog)s)
    ) AS timer(kind, topic, later)
)
SELECT {begun}CASE WHEN ({recently_due}) IS NULL THEN pg_notify('ordersaga_outbox', %(initiator)s) END {rows}
"""
_RECENTLY_DUE = RECENTLY_DUE.format(participant="%(initiator)s")
START = _START.format(first="", payload="%(payload)s", begun="", recently_due=_RECENTLY_DUE, rows="")


def start_with(ctes: str) -> str:
    """The statement that starts a saga if the CTE ``begun`` of ``ctes`` returns a row.

    It returns that row and a further column, which the caller ignores.
    """
    number = "to_json(begun.number::text)::text"  # without its quotes it is valid within any JSON string
    payload = f"replace(%(payload)s, %(placeholder)s, substr({number}, 2, length({number}) - 2)) FROM begun"
    return _START.format(
        first=f"{ctes.strip()}, ",
        payload=payload,
        begun="begun.*, ",
        recently_due=_RECENTLY_DUE,
        rows="FROM begun",
    )


LOCK = """
SELECT id::text, status FROM ordersaga_saga WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE
"""

BEGUN_WITH = "SELECT pack_id FROM ordersaga_saga WHERE id = %s"

CONFIRM = """
UPDATE ordersaga_saga SET status = 'CONFIRMED', moved_at = now(), rounds = 0, attention = NULL,
    ended_at = CASE WHEN %s THEN now() END
WHERE id = ANY(%s::uuid[]) AND status = 'PENDING'
"""

ROLL_BACK = f"""
UPDATE ordersaga_saga s SET status = 'ROLLING_BACK', refusal = r.refusal, refused_by = r.refused_by,
    reason = r.reason, refused_with = r.refused_with, moved_at = now(), rounds = 0, attention = NULL
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS r(saga, refusal, refused_by, reason, refused_with)
WHERE s.id = r.saga AND s.status IN ('PENDING', 'CONFIRMED') AND {OPEN}
RETURNING s.id::text
"""

COMPLETE = f"""
UPDATE ordersaga_saga SET ended_at = now(), moved_at = now(), attention = NULL
WHERE id = ANY(%s::uuid[]) AND status = 'CONFIRMED' AND {OPEN} RETURNING id::text
"""

# Recorded at any status: an answer may overtake the refusal it answers (docs/PROTOCOL.md, rule 7).
ANSWER = """
INSERT INTO ordersaga_answer (saga_id, participant)
SELECT a.saga, a.participant FROM unnest(%s::uuid[], %s::text[]) AS a(saga, participant)
JOIN ordersaga_saga s ON s.id = a.saga ORDER BY a.saga, a.participant
ON CONFLICT DO NOTHING RETURNING saga_id::text
"""

MOVED = f"UPDATE ordersaga_saga SET moved_at = now(), rounds = 0 WHERE id = ANY(%s::uuid[]) AND {OPEN}"

CLOSE = """
UPDATE ordersaga_saga s SET status = 'ROLLED_BACK', ended_at = now(), moved_at = now(), attention = NULL
WHERE id = ANY(%s::uuid[]) AND status = 'ROLLING_BACK'
AND participants <@ (
    SELECT coalesce(array_agg(a.participant), '{}') FROM ordersaga_answer a WHERE a.saga_id = s.id
)
RETURNING id::text
"""

WATCH = """
SELECT id::text, status, pack_id, refusal, refused_by, reason, refused_with, rounds,
    ended_at IS NOT NULL AS ended, now() - moved_at AS still
FROM ordersaga_saga WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE
"""

ROUND = "UPDATE ordersaga_saga SET rounds = rounds + 1 WHERE id = ANY(%s::uuid[])"

# The count of rounds starts again, because the operator may have removed the cause.
RESUME = """
UPDATE ordersaga_saga SET attention = NULL, rounds = 0
WHERE id = %s AND attention IS NOT NULL AND ended_at IS NULL RETURNING id
"""

ATTENTION = f"UPDATE ordersaga_saga SET attention = %s WHERE id = ANY(%s::uuid[]) AND {OPEN}"

PARTICIPANTS = "SELECT name FROM ordersaga_participant ORDER BY name"

STATUS = "SELECT status, ended_at IS NOT NULL, reason, attention FROM ordersaga_saga WHERE id = %s"
