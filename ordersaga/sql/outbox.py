"""Statements on packs and the outbox."""

from ordersaga.sql import AMONG

HORIZON = "interval '250 milliseconds'"
"""No relay sleeps longer."""

# Whether a row is pending that fell due just now, so that the relay is awake or will look again. The probe
# sees the table as it was before: a NOTIFY takes a lock that all databases of the server share at commit, so
# it is sent only when the relay may be asleep. It reads backwards and no further than a relay sleeps: before
# that lie deleted rows, which an old snapshot keeps. ORDER BY makes the planner use the index.
PENDING = f"""
    SELECT 1 FROM ordersaga_outbox WHERE participant = {{participant}}
    AND due_at > statement_timestamp() - {HORIZON} AND due_at <= statement_timestamp()
    ORDER BY participant DESC, due_at DESC, id DESC LIMIT 1
"""

# All that a transaction says, in one statement. Nobody waits for notices, so those of a second fall due
# together and share an envelope. NOTIFY names the participant, as several may share a database and only one
# has something to do. Packs are parameters each, see record().
_RECORD = f"""
WITH said AS (
    INSERT INTO ordersaga_pack (id, topic, payload) SELECT * FROM unnest(%s::bigint[], %s::text[], {{packs}})
    RETURNING id
), owed AS (
    INSERT INTO ordersaga_outbox (participant, topic, signals, pack_id)
    SELECT %s, w.topic, w.signals, w.pack FROM unnest(%s::bigint[], %s::text[], %s::integer[]) AS w(pack, topic, signals)
), posted AS (
    INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, signals, payload, due_at)
    SELECT %s, w.kind, w.topic, w.recipient, w.signals, w.payload, CASE
        WHEN w.topic = 'notice' THEN date_trunc('second', clock_timestamp()) + interval '1 second'
        ELSE clock_timestamp() + w.later END
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::integer[], {{posts}}, %s::interval[])
        AS w(kind, topic, recipient, signals, payload, later)
)
SELECT pg_notify('ordersaga_outbox', %s) WHERE ({PENDING.format(participant="%s")}) IS NULL
"""


def record(packs: int, posts: int) -> str:
    """The statement for so many packs and posts. Their texts are not one parameter: psycopg 3 goes through
    the texts of a list with regular expressions, which for a pack of 400 signals takes as long as the
    statement.
    """
    return _RECORD.format(packs=_texts(packs), posts=_texts(posts))


def _texts(count: int) -> str:
    return f"ARRAY[{', '.join(['%s'] * count)}]::text[]"


# The signal of a timer says nothing but its saga, so the database writes it itself. A timer that is set again
# gets a new id, as the ids of what it leads to are derived from it.
TIMERS = """
INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, saga_id, signals, payload, due_at)
SELECT %s, %s, %s, %s, w.saga, 1, format(%s, gen_random_uuid(), w.saga), clock_timestamp() + w.later
FROM unnest(%s::uuid[], %s::interval[]) AS w(saga, later)
ON CONFLICT (saga_id, kind) WHERE saga_id IS NOT NULL
DO UPDATE SET payload = excluded.payload, due_at = excluded.due_at, sent = NULL, refusals = NULL, fault = NULL
"""

# One pending retry of a signal of a saga at a participant: a repeated signal that fails as well moves it and
# starts no second.
RETRY = """
INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, retry_of, signals, payload, due_at)
VALUES (%s, 'retry', %s, %s, %s, 1, %s, clock_timestamp() + %s)
ON CONFLICT (retry_of, topic, participant) WHERE retry_of IS NOT NULL
DO UPDATE SET payload = excluded.payload, due_at = excluded.due_at, refusals = NULL, fault = NULL
"""

STRIKE = f"DELETE FROM ordersaga_outbox WHERE {AMONG} AND kind = ANY(%s::text[])"

OBSERVERS = "all-observers"
"""The recipient of what observers hear; no participant can have this name."""

# Rows are taken up to a number of bytes; octet_length() reads the length of a compressed text without
# decompressing it. Timers are not deleted but put off until somebody strikes them out, as a lost message must
# not silence them for good: by the saga's first interval of the watchdog, twice as long each time, up to its
# longest. What goes to participants is then due to the observers, as nobody waits for them: with all else of
# its topic and second.
_CLAIM = """
WITH due AS (
    SELECT id, kind, topic, recipient, saga_id IS NOT NULL AS timer,
        {observed} AND recipient IS NULL AND topic <> 'notice' AS overheard,
        signals, payload, pack_id, due_at, created_at, retry_of, refusals, fault, sent
    FROM ordersaga_outbox
    WHERE participant = {participant} AND due_at >= to_timestamp({since}) AND due_at <= now()
    ORDER BY participant, due_at, id LIMIT {rows} FOR UPDATE SKIP LOCKED
), sized AS (
    SELECT due.*, coalesce(due.payload, p.payload) AS words, sum(octet_length(coalesce(due.payload, p.payload)))
        OVER (ORDER BY due.due_at, due.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM due LEFT JOIN ordersaga_pack p ON p.id = due.pack_id AND p.topic = due.topic
), claimed AS (
    SELECT * FROM sized WHERE coalesce(before, 0) < {size}
), gone AS (
    DELETE FROM ordersaga_outbox o USING claimed c WHERE o.id = c.id AND NOT c.timer AND NOT c.overheard
), stayed AS (
    UPDATE ordersaga_outbox o SET refusals = NULL, fault = NULL,
        recipient = CASE WHEN c.timer THEN o.recipient ELSE '{observers}' END,
        sent = CASE WHEN c.timer THEN coalesce(o.sent, 0) + 1 END,
        due_at = CASE WHEN c.timer
            THEN now() + make_interval(secs => least({first} * power(2, least(coalesce(o.sent, 0), 20)), {cap}))
            ELSE date_trunc('second', clock_timestamp()) + interval '1 second' END
    FROM claimed c WHERE o.id = c.id AND (c.timer OR c.overheard)
)
SELECT id, kind, topic, recipient, signals, coalesce(words, ''), pack_id, timer OR overheard,
    extract(epoch FROM due_at)::float8, created_at, retry_of, refusals, fault, coalesce(sent, 0)
FROM claimed ORDER BY id
"""
_NAMES = ("observed", "participant", "since", "rows", "size", "first", "cap")
CLAIM = _CLAIM.format(observers=OBSERVERS, **{name: f"%({name})s" for name in _NAMES})

# The relay asks so often that planning would cost more than claiming. A plan that is kept was made when the
# table was small, so it may not be one that reads all of it. A look goes no further than the relay sleeps:
# behind that stand the timers, those of sagas that have ended first. A relay whose host has vanished lets go
# of what it had claimed by idle_in_transaction_session_timeout, which every session of ours has
# (ordersaga.sessions).
PREPARE = f"""
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET statement_timeout = '30s';
PREPARE ordersaga_due (text, float8) AS SELECT (
        SELECT extract(epoch FROM due_at)::float8 FROM ordersaga_outbox
        WHERE participant = $1 AND due_at >= to_timestamp($2) AND due_at <= now() + {HORIZON}
        ORDER BY participant, due_at, id LIMIT 1
    ), extract(epoch FROM now())::float8, extract(epoch FROM clock_timestamp())::float8,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
PREPARE ordersaga_claim (boolean, text, float8, integer, integer, float8, float8) AS
    {_CLAIM.format(observers=OBSERVERS, **{name: f"${n}" for n, name in enumerate(_NAMES, 1)})};
LISTEN ordersaga_outbox
"""
DUE = "EXECUTE ordersaga_due (%(participant)s, %(since)s)"
CLAIM_PREPARED = f"BEGIN; EXECUTE ordersaga_claim ({', '.join(f'%({name})s' for name in _NAMES)})"
COMMIT = f"COMMIT; {DUE}"
"""And look, on the same way, whether more is due."""

# Rows that the claim deleted are inserted as they were, those that it only moved are moved back.
PUT_BACK = """
INSERT INTO ordersaga_outbox (id, participant, kind, topic, recipient, retry_of, signals, pack_id, payload, due_at, created_at,
    refusals, fault)
OVERRIDING SYSTEM VALUE
SELECT id, %s, kind, topic, recipient, retry_of, signals, pack_id, payload,
    coalesce(to_timestamp(due), clock_timestamp() + make_interval(secs => later)), created_at, refusals, fault
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::uuid[], %s::integer[], %s::bigint[], %s::text[], %s::float8[],
    %s::float8[], %s::timestamptz[], %s::integer[], %s::text[])
    AS w(id, kind, topic, recipient, retry_of, signals, pack_id, payload, due, later, created_at, refusals, fault)
ON CONFLICT (id) DO UPDATE SET recipient = excluded.recipient, due_at = excluded.due_at, refusals = excluded.refusals,
    fault = excluded.fault
"""

# The rows of an address whose queues refuse are put off all at once, or each claim would be filled with them.
_OF_ADDRESS = "participant = %(participant)s AND coalesce('to.' || recipient, topic) = %(address)s"
PARK = f"""
UPDATE ordersaga_outbox SET due_at = clock_timestamp() + make_interval(secs => %(later)s), fault = %(fault)s
WHERE id IN (
    SELECT id FROM ordersaga_outbox WHERE {_OF_ADDRESS} AND due_at >= to_timestamp(%(since)s) AND due_at <= now()
    ORDER BY participant, due_at, id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
)
"""
RELEASE = f"""
UPDATE ordersaga_outbox SET due_at = clock_timestamp(), fault = NULL
WHERE id IN (
    SELECT id FROM ordersaga_outbox WHERE {_OF_ADDRESS} AND fault IS NOT NULL AND refusals IS NULL
    ORDER BY id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
)
"""
