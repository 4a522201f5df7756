"""Statements on packs and the outbox."""

from ordersaga.sql import AMONG

HORIZON = "interval '250 milliseconds'"
"""The longest sleep of a relay."""

# Finds a row that fell due within the relay's longest sleep; if there is one, the relay is awake or polls
# soon. If there is none, the writer sends NOTIFY. A NOTIFY takes a lock at commit that all databases of the
# server share, so it is avoided. The query does not see the rows that its own statement inserts. The lower
# bound excludes deleted rows that an old snapshot keeps. ORDER BY makes the planner use the index.
RECENTLY_DUE = f"""
    SELECT 1 FROM ordersaga_outbox WHERE participant = {{participant}}
    AND due_at > statement_timestamp() - {HORIZON} AND due_at <= statement_timestamp()
    ORDER BY participant DESC, due_at DESC, id DESC LIMIT 1
"""

# One statement writes all messages of a transaction. Notices are batched by the second, because nothing
# blocks on them. NOTIFY names the participant, because several may share a database.
_RECORD = f"""
WITH packs AS (
    INSERT INTO ordersaga_pack (id, topic, payload) SELECT * FROM unnest(%s::bigint[], %s::text[], {{packs}})
    RETURNING id
), pack_rows AS (
    INSERT INTO ordersaga_outbox (participant, topic, signals, pack_id)
    SELECT %s, w.topic, w.signals, w.pack
    FROM unnest(%s::bigint[], %s::text[], %s::integer[]) AS w(pack, topic, signals)
), message_rows AS (
    INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, signals, payload, due_at)
    SELECT %s, w.kind, w.topic, w.recipient, w.signals, w.payload, CASE
        WHEN w.topic = 'notice' THEN date_trunc('second', clock_timestamp()) + interval '1 second'
        ELSE clock_timestamp() + w.later END
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::integer[], {{rows}}, %s::interval[])
        AS w(kind, topic, recipient, signals, payload, later)
)
SELECT pg_notify('ordersaga_outbox', %s) WHERE ({RECENTLY_DUE.format(participant="%s")}) IS NULL
"""


def record(packs: int, rows: int) -> str:
    """The statement for these numbers of packs and of other rows.

    Each text is a parameter: psycopg 3 searches the texts of a list with regular expressions, which takes as
    long as the statement for a pack of 400 signals.
    """
    return _RECORD.format(packs=_texts(packs), rows=_texts(rows))


def _texts(count: int) -> str:
    return f"ARRAY[{', '.join(['%s'] * count)}]::text[]"


# The signal of a timer contains only its saga, so the database writes it. A timer that is set again gets a
# new id, because the ids of the resulting messages are derived from it.
TIMERS = """
INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, saga_id, signals, payload, due_at)
SELECT %s, %s, %s, %s, w.saga, 1, format(%s, gen_random_uuid(), w.saga), clock_timestamp() + w.later
FROM unnest(%s::uuid[], %s::interval[]) AS w(saga, later)
ON CONFLICT (saga_id, kind) WHERE saga_id IS NOT NULL
DO UPDATE SET payload = excluded.payload, due_at = excluded.due_at, sent = NULL, refusals = NULL, fault = NULL
"""

# At most one retry of a signal is pending for a saga at a participant; another failure replaces it.
RETRY = """
INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, retry_of, signals, payload, due_at)
VALUES (%s, 'retry', %s, %s, %s, 1, %s, clock_timestamp() + %s)
ON CONFLICT (retry_of, topic, participant) WHERE retry_of IS NOT NULL
DO UPDATE SET payload = excluded.payload, due_at = excluded.due_at, refusals = NULL, fault = NULL
"""

CANCEL_TIMERS = f"DELETE FROM ordersaga_outbox WHERE {AMONG} AND kind = ANY(%s::text[])"

OBSERVERS = "all-observers"
"""The recipient of the observers' copies; no participant can have this name."""

# Claims rows up to a number of bytes; octet_length() does not decompress a text.
# * A timer is kept and becomes due again, because a lost message must not stop it. The interval starts at the
#   watchdog's first and doubles up to its longest, until the timer is cancelled.
# * A row for participants is kept, if there are observers, and becomes due once more, with the observers as
#   its recipient. These copies are batched by topic and second, because nothing blocks on them.
# * Any other row is deleted.
_CLAIM = """
WITH due AS (
    SELECT id, kind, topic, recipient, saga_id IS NOT NULL AS timer,
        {observed} AND recipient IS NULL AND topic <> 'notice' AS observable,
        signals, payload, pack_id, due_at, created_at, retry_of, refusals, fault, sent
    FROM ordersaga_outbox
    WHERE participant = {participant} AND due_at >= to_timestamp({since}) AND due_at <= now()
    ORDER BY participant, due_at, id LIMIT {rows} FOR UPDATE SKIP LOCKED
), sized AS (
    SELECT due.*, coalesce(due.payload, p.payload) AS body,
        sum(octet_length(coalesce(due.payload, p.payload))) OVER (
            ORDER BY due.due_at, due.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS before
    FROM due LEFT JOIN ordersaga_pack p ON p.id = due.pack_id AND p.topic = due.topic
), claimed AS (
    SELECT * FROM sized WHERE coalesce(before, 0) < {size}
), deleted AS (
    DELETE FROM ordersaga_outbox o USING claimed c WHERE o.id = c.id AND NOT c.timer AND NOT c.observable
), kept AS (
    UPDATE ordersaga_outbox o SET refusals = NULL, fault = NULL,
        recipient = CASE WHEN c.timer THEN o.recipient ELSE '{observers}' END,
        sent = CASE WHEN c.timer THEN coalesce(o.sent, 0) + 1 END,
        due_at = CASE WHEN c.timer
            THEN now() + make_interval(
                secs => least({first} * power(2, least(coalesce(o.sent, 0), 20)), {cap})
            )
            ELSE date_trunc('second', clock_timestamp()) + interval '1 second' END
    FROM claimed c WHERE o.id = c.id AND (c.timer OR c.observable)
)
SELECT id, kind, topic, recipient, signals, coalesce(body, ''), pack_id, timer OR observable,
    extract(epoch FROM due_at)::float8, created_at, retry_of, refusals, fault, coalesce(sent, 0)
FROM claimed ORDER BY id
"""
_NAMES = ("observed", "participant", "since", "rows", "size", "first", "cap")
CLAIM = _CLAIM.format(observers=OBSERVERS, **{name: f"%({name})s" for name in _NAMES})

# The statements are prepared, because planning each poll would cost more than claiming. A plan made for a
# small table must not scan it later, so sequential scans are off. ordersaga_due looks no further ahead than
# the relay's longest sleep, which excludes most timers. If a relay's host disappears,
# idle_in_transaction_session_timeout (ordersaga.sessions) releases the rows that it claimed.
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
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
PREPARE ordersaga_claim (boolean, text, float8, integer, integer, float8, float8) AS
    {_CLAIM.format(observers=OBSERVERS, **{name: f"${n}" for n, name in enumerate(_NAMES, 1)})};
LISTEN ordersaga_outbox
"""
DUE = "EXECUTE ordersaga_due (%(participant)s, %(since)s)"
CLAIM_PREPARED = f"BEGIN; EXECUTE ordersaga_claim ({', '.join(f'%({name})s' for name in _NAMES)})"
COMMIT = f"COMMIT; {DUE}"
"""Commit and poll in one round trip."""

# Rows that the claim deleted are inserted again; rows that it kept get their former values.
PUT_BACK = """
INSERT INTO ordersaga_outbox (id, participant, kind, topic, recipient, retry_of, signals, pack_id, payload,
    due_at, created_at, refusals, fault)
OVERRIDING SYSTEM VALUE
SELECT id, %s, kind, topic, recipient, retry_of, signals, pack_id, payload,
    coalesce(to_timestamp(due), clock_timestamp() + make_interval(secs => later)), created_at, refusals, fault
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::uuid[], %s::integer[], %s::bigint[],
    %s::text[], %s::float8[], %s::float8[], %s::timestamptz[], %s::integer[], %s::text[])
    AS w(id, kind, topic, recipient, retry_of, signals, pack_id, payload,
        due, later, created_at, refusals, fault)
ON CONFLICT (id) DO UPDATE SET recipient = excluded.recipient, due_at = excluded.due_at,
    refusals = excluded.refusals, fault = excluded.fault
"""

# All rows of a routing key that a queue refuses are postponed at once, so that they do not fill each claim.
_OF_ROUTING_KEY = "participant = %(participant)s AND coalesce('to.' || recipient, topic) = %(routing_key)s"
PARK = f"""
UPDATE ordersaga_outbox SET due_at = clock_timestamp() + make_interval(secs => %(later)s), fault = %(fault)s
WHERE id IN (
    SELECT id FROM ordersaga_outbox
    WHERE {_OF_ROUTING_KEY} AND due_at >= to_timestamp(%(since)s) AND due_at <= now()
    ORDER BY participant, due_at, id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
)
"""
RELEASE = f"""
UPDATE ordersaga_outbox SET due_at = clock_timestamp(), fault = NULL
WHERE id IN (
    SELECT id FROM ordersaga_outbox WHERE {_OF_ROUTING_KEY} AND fault IS NOT NULL AND refusals IS NULL
    ORDER BY id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
)
"""
