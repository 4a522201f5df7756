"""Statements on packs and the outbox."""

from ordersaga.sql import AMONG

# All that a transaction says, in one statement. Nobody waits for notices, so those of a second fall due together and share an
# envelope. The probe for a pending row sees the table as it was before: a NOTIFY takes
# a lock that all databases of the server share at commit, so it is sent only when the relay may be asleep. It names the
# participant, as several may share a database and only one has something to do. ORDER BY makes
# the planner use the index, whose dead entries it learns to skip. Packs are parameters each, see record().
_RECORD = """
WITH said AS (
    INSERT INTO ordersaga_pack (id, topic, payload) SELECT * FROM unnest(%s::bigint[], %s::text[], {packs})
    RETURNING id
), owed AS (
    INSERT INTO ordersaga_outbox (participant, topic, signals, pack_id)
    SELECT %s, w.topic, w.signals, w.pack FROM unnest(%s::bigint[], %s::text[], %s::integer[]) AS w(pack, topic, signals)
), posted AS (
    INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, signals, payload, due_at)
    SELECT %s, w.kind, w.topic, w.recipient, w.signals, w.payload, CASE
        WHEN w.topic = 'notice' THEN date_trunc('second', clock_timestamp()) + interval '1 second'
        ELSE clock_timestamp() + w.later END
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::integer[], {posts}, %s::interval[])
        AS w(kind, topic, recipient, signals, payload, later)
)
SELECT pg_notify('ordersaga_outbox', %s) WHERE (
    SELECT 1 FROM ordersaga_outbox WHERE participant = %s AND due_at <= now() ORDER BY participant, due_at, id LIMIT 1
) IS NULL
"""


def record(packs: int, posts: int) -> str:
    """The statement for so many packs and posts. Their texts are not one parameter: psycopg 3 goes through the texts of a list
    with regular expressions, which for a pack of 400 signals takes as long as the statement.
    """
    return _RECORD.format(packs=_texts(packs), posts=_texts(posts))


def _texts(count: int) -> str:
    return f"ARRAY[{', '.join(['%s'] * count)}]::text[]"


# The signal of a timer says nothing but its saga, so the database writes it itself.
TIMERS = """
INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, saga_id, signals, payload, due_at)
SELECT %s, %s, %s, %s, w.saga, 1, format(%s, gen_random_uuid(), w.saga), clock_timestamp() + w.later
FROM unnest(%s::uuid[], %s::interval[]) AS w(saga, later)
ON CONFLICT (saga_id, kind) WHERE saga_id IS NOT NULL DO UPDATE SET due_at = excluded.due_at
"""

STRIKE = f"DELETE FROM ordersaga_outbox WHERE {AMONG} AND kind = ANY(%s::text[])"

OBSERVERS = "all-observers"
"""The recipient of what observers hear; no participant can have this name."""

# Timers are not deleted but put off until somebody strikes them out: a lost message must not silence them for good.
# What goes to participants is then due to the observers, as nobody waits for them: with all else of its topic and second.
_CLAIM = """
WITH due AS (
    SELECT id, recipient, saga_id IS NOT NULL AS timer, {observed} AND recipient IS NULL AND topic <> 'notice' AS overheard
    FROM ordersaga_outbox WHERE participant = {participant} AND due_at <= now()
    ORDER BY participant, due_at, id LIMIT {rows} FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM ordersaga_outbox o USING due WHERE o.id = due.id AND NOT due.timer AND NOT due.overheard
    RETURNING o.id, o.kind, o.topic, due.recipient, o.signals, o.payload, o.pack_id
), stayed AS (
    UPDATE ordersaga_outbox o SET
        recipient = CASE WHEN due.timer THEN o.recipient ELSE '{observers}' END,
        due_at = CASE WHEN due.timer THEN now() + interval '10 minutes'
            ELSE date_trunc('second', clock_timestamp()) + interval '1 second' END
    FROM due WHERE o.id = due.id AND (due.timer OR due.overheard)
    RETURNING o.id, o.kind, o.topic, due.recipient, o.signals, o.payload, o.pack_id
), claimed AS (SELECT * FROM gone UNION ALL SELECT * FROM stayed)
SELECT c.kind IN ('retry', 'paused'), c.topic, c.recipient, c.signals, coalesce(c.payload, p.payload)
FROM claimed c LEFT JOIN ordersaga_pack p ON p.id = c.pack_id AND p.topic = c.topic
ORDER BY c.id
"""
CLAIM = _CLAIM.format(observers=OBSERVERS, observed="%s", participant="%s", rows="%s")

# The relay asks so often that planning would cost more than claiming. A plan that is kept was made when the table was small, so
# it may not be one that reads all of it. No relay sleeps for a second, so what is due later is left alone: first of it are the
# timers of sagas that have ended, and while anybody's snapshot is older than that, each look would go through all of them.
PREPARE = f"""
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
PREPARE ordersaga_due (text) AS SELECT extract(epoch FROM due_at - clock_timestamp())::float8
    FROM ordersaga_outbox WHERE participant = $1 AND due_at <= now() + interval '1 second'
    ORDER BY participant, due_at, id LIMIT 1;
PREPARE ordersaga_claim (boolean, text, integer) AS
    {_CLAIM.format(observers=OBSERVERS, observed="$1", participant="$2", rows="$3")};
LISTEN ordersaga_outbox
"""
DUE = "EXECUTE ordersaga_due (%s)"
CLAIM_PREPARED = "BEGIN; EXECUTE ordersaga_claim (%s, %s, %s)"
COMMIT = f"COMMIT; {DUE}"
"""And look, on the same way, whether more is due."""
