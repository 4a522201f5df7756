"""The engine's tables, for the migrations of Django and of Alembic.

CHECK constraints, unique indexes and triggers make invalid states impossible.
"""

from __future__ import annotations

SAGA = """
CREATE TABLE ordersaga_saga (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    status text NOT NULL DEFAULT 'PENDING'
        CHECK (status IN ('PENDING', 'CONFIRMED', 'ROLLING_BACK', 'ROLLED_BACK')),
    participants text[] NOT NULL CHECK (cardinality(participants) > 0),
    pack_id bigint NOT NULL,
    refusal text,
    refused_by text,
    reason text,
    refused_with text,
    deadline_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    moved_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    rounds integer NOT NULL DEFAULT 0 CHECK (rounds >= 0),
    attention text,
    -- only a refusal rolls a saga back
    CHECK ((status IN ('ROLLING_BACK', 'ROLLED_BACK')) = (refusal IS NOT NULL)),
    -- a confirmed saga ends when its pivot is done, a refused one when all participants have answered
    CHECK (ended_at IS NULL OR status IN ('CONFIRMED', 'ROLLED_BACK')),
    CHECK (status <> 'ROLLED_BACK' OR ended_at IS NOT NULL)
-- every saga is updated soon: free space in its page allows a HOT update, which changes no index
) WITH (fillfactor = 50)
"""

# Even an UPDATE without its WHERE cannot make a transition that the protocol forbids.
SAGA_MOVES = """
CREATE FUNCTION ordersaga_saga_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT ((OLD.status = 'PENDING' AND NEW.status IN ('CONFIRMED', 'ROLLING_BACK'))
         OR (OLD.status = 'CONFIRMED' AND NEW.status = 'ROLLING_BACK' AND OLD.ended_at IS NULL)
         OR (OLD.status = 'ROLLING_BACK' AND NEW.status = 'ROLLED_BACK')) THEN
        RAISE EXCEPTION 'saga % cannot go from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""

SAGA_MOVES_TRIGGER = """
CREATE TRIGGER ordersaga_saga_moves BEFORE UPDATE OF status ON ordersaga_saga
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION ordersaga_saga_moves()
"""

ANSWER = """
CREATE TABLE ordersaga_answer (
    saga_id uuid NOT NULL REFERENCES ordersaga_saga ON DELETE CASCADE,
    participant text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga_id, participant)
)
"""

JOURNAL = """
CREATE TABLE ordersaga_journal (
    saga_id uuid NOT NULL,
    step text NOT NULL,
    state text NOT NULL CHECK (state IN ('retrying', 'intent', 'done', 'refused', 'void', 'barred', 'undoing',
                                         'undone', 'cornered', 'heard')),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    pack_id bigint,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga_id, step),
    -- 'participant.refusal' is not a step: it records that the participant has received a refusal
    CHECK ((state = 'heard') = (step LIKE '%.refusal')),
    CHECK (state <> 'retrying' OR attempts > 0),
    -- a step that never ran has emitted nothing
    CHECK (state NOT IN ('barred', 'heard', 'retrying') OR pack_id IS NULL),
    CHECK (state NOT IN ('done', 'refused', 'undoing', 'undone') OR pack_id IS NOT NULL)
)
"""

# A row is inserted as 'done' before its step runs and may be corrected in the same transaction, whose id
# is its xmin. A committed row allows only the transitions of the protocol.
JOURNAL_MOVES = """
CREATE FUNCTION ordersaga_journal_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT ((OLD.state = 'retrying'
             AND NEW.state IN ('retrying', 'intent', 'done', 'refused', 'void', 'barred'))
         OR (OLD.state = 'intent' AND NEW.state IN ('intent', 'done', 'refused', 'cornered'))
         OR (OLD.state = 'cornered' AND NEW.state IN ('cornered', 'refused', 'undoing', 'undone'))
         OR (OLD.state = 'done' AND NEW.state IN ('undoing', 'undone'))
         OR (OLD.state = 'undoing' AND NEW.state IN ('undoing', 'undone'))
         OR ((NEW.state = OLD.state OR OLD.state = 'done' AND NEW.state IN ('refused', 'void'))
             AND OLD.xmin::text::bigint = (pg_current_xact_id()::text::bigint & 4294967295))) THEN
        RAISE EXCEPTION 'step % of saga % cannot go from % to %', OLD.step, OLD.saga_id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""

JOURNAL_MOVES_TRIGGER = """
CREATE TRIGGER ordersaga_journal_moves BEFORE UPDATE ON ordersaga_journal
    FOR EACH ROW EXECUTE FUNCTION ordersaga_journal_moves()
"""

PACK = """
CREATE TABLE ordersaga_pack (
    id bigint NOT NULL,
    topic text NOT NULL,
    payload text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, topic)
)
"""

# lz4 compresses 400 signals in 4 ms, pglz in 8 ms; a server built without lz4 keeps its default.
PACK_LZ4 = """
DO $$ BEGIN
    ALTER TABLE ordersaga_pack ALTER COLUMN payload SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$
"""

OUTBOX = """
CREATE TABLE ordersaga_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    participant text NOT NULL,
    kind text NOT NULL DEFAULT 'said' CHECK (kind IN ('said', 'retry', 'paused', 'deadline', 'watchdog')),
    topic text NOT NULL,
    recipient text,
    saga_id uuid,
    signals integer NOT NULL CHECK (signals > 0),
    pack_id bigint,
    payload text,
    -- from the clock, not from the start of the transaction, because ScanBound depends on it
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at timestamptz NOT NULL DEFAULT now(),
    retry_of uuid,
    sent integer CHECK (sent > 0),
    refusals integer CHECK (refusals > 0),
    fault text,
    -- the payload is in the pack or in the row, not in both
    CHECK ((pack_id IS NULL) <> (payload IS NULL)),
    -- a timer belongs to one saga
    CHECK ((kind IN ('deadline', 'watchdog')) = (saga_id IS NOT NULL)),
    CHECK (saga_id IS NULL OR signals = 1),
    -- a retry or a row of a paused step is for the participant's own queue only
    CHECK (kind NOT IN ('retry', 'paused') OR recipient IS NOT NULL),
    -- at most one retry of a saga's signal is pending (unique index below)
    CHECK (retry_of IS NULL OR kind = 'retry'),
    -- only timers are sent repeatedly, and a refused row has its fault
    CHECK (sent IS NULL OR saga_id IS NOT NULL),
    CHECK (refusals IS NULL OR fault IS NOT NULL)
-- rows exist for milliseconds: vacuum by their number, whatever the table's size, and without pauses
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000)
"""

PAUSED_STEP = """
CREATE TABLE ordersaga_paused_step (
    step text PRIMARY KEY,
    participant text NOT NULL,
    error text NOT NULL,
    process text NOT NULL,
    paused_at timestamptz NOT NULL DEFAULT now(),
    probes integer NOT NULL DEFAULT 0 CHECK (probes >= 0),
    probe_at timestamptz NOT NULL
)
"""

DEAD_LETTER = """
CREATE TABLE ordersaga_dead_letter (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    participant text NOT NULL,
    saga_id uuid NOT NULL,
    step text NOT NULL,
    topic text NOT NULL,
    signal text NOT NULL,
    error text NOT NULL,
    message text NOT NULL,
    traceback text NOT NULL,
    attempts integer NOT NULL CHECK (attempts > 0),
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (saga_id, step)
)
"""

PARTICIPANT = "CREATE TABLE ordersaga_participant (name text PRIMARY KEY)"
ADD_PARTICIPANT = "INSERT INTO ordersaga_participant (name) VALUES ('{name}') ON CONFLICT DO NOTHING"


def create(*participants: str) -> list[str]:
    """The statements that create the engine's tables, in order.

    :param participants: the owners of the database. If they are named, a saga can only be started where its
        initiator is one of them.
    """
    return [
        SAGA,
        "CREATE INDEX ordersaga_saga_open ON ordersaga_saga (deadline_at) WHERE ended_at IS NULL",
        "CREATE INDEX ordersaga_saga_attention ON ordersaga_saga (id) WHERE attention IS NOT NULL",
        SAGA_MOVES,
        SAGA_MOVES_TRIGGER,
        ANSWER,
        JOURNAL,
        "CREATE INDEX ordersaga_journal_open ON ordersaga_journal (at)"
        " WHERE state IN ('retrying', 'intent', 'undoing', 'cornered')",
        JOURNAL_MOVES,
        JOURNAL_MOVES_TRIGGER,
        "CREATE SEQUENCE ordersaga_pack_id",
        PACK,
        PACK_LZ4,
        OUTBOX,
        "CREATE INDEX ordersaga_outbox_due ON ordersaga_outbox (participant, due_at, id)",
        "CREATE UNIQUE INDEX ordersaga_outbox_timer ON ordersaga_outbox (saga_id, kind)"
        " WHERE saga_id IS NOT NULL",
        "CREATE UNIQUE INDEX ordersaga_outbox_retry ON ordersaga_outbox (retry_of, topic, participant)"
        " WHERE retry_of IS NOT NULL",
        "CREATE INDEX ordersaga_outbox_refused ON ordersaga_outbox (participant, id) WHERE fault IS NOT NULL",
        PAUSED_STEP,
        DEAD_LETTER,
        PARTICIPANT,
        *(ADD_PARTICIPANT.format(name=name) for name in participants),
    ]


def drop() -> list[str]:
    """The statements that undo :func:`create`."""
    tables = ("participant", "dead_letter", "paused_step", "outbox", "pack", "journal", "answer", "saga")
    return [
        *(f"DROP TABLE ordersaga_{table}" for table in tables),
        "DROP SEQUENCE ordersaga_pack_id",
        "DROP FUNCTION ordersaga_saga_moves()",
        "DROP FUNCTION ordersaga_journal_moves()",
    ]
