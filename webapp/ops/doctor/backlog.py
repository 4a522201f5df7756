"""Checks of work in progress: overdue outboxes, paused steps, dead letters, refused writes, idle
transactions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg2
import psycopg2.errors

from ordersaga.choreography import Choreography
from ordersaga.database import first_line
from ordersaga.sessions import connect
from ordersaga.signal import topic_of
from webapp.ops.doctor.database import Database
from webapp.ops.doctor.finding import Finding, error, warning

OVERDUE_SECONDS = 300
"""Seconds after which a due outbox row counts as overdue."""

OVERDUE_ROWS = """
SELECT participant, count(*), extract(epoch FROM clock_timestamp() - min(due_at))::float8
FROM ordersaga_outbox
WHERE due_at < clock_timestamp() - make_interval(secs => %s) GROUP BY participant ORDER BY participant
"""
REFUSED_ROWS = """
SELECT participant, refusals IS NOT NULL AS own_envelope, coalesce('to.' || recipient, topic) AS routing_key,
    count(*), min(fault), extract(epoch FROM clock_timestamp() - min(created_at))::float8
FROM ordersaga_outbox WHERE fault IS NOT NULL GROUP BY participant, own_envelope, routing_key
ORDER BY participant, own_envelope, routing_key LIMIT 20
"""
SAGAS_NEEDING_ATTENTION = """
SELECT id::text, attention FROM ordersaga_saga WHERE attention IS NOT NULL AND ended_at IS NULL
ORDER BY id LIMIT 101
"""
ABSENT_PARTICIPANTS = """
SELECT name FROM (SELECT DISTINCT unnest(participants) AS name FROM ordersaga_saga
WHERE ended_at IS NULL) AS awaited
WHERE name <> ALL(%s) ORDER BY name
"""
OPEN_DEAD_LETTERS = "SELECT id, error FROM audit_deadletter WHERE outcome IS NULL ORDER BY id DESC LIMIT 101"


def check_backlog(database: Database, participants: Sequence[str]) -> Iterator[Finding]:
    """Check a database that has tables.

    :param participants: those of the settings; a saga keeps the list of its start.
    """
    for participant, rows, age in database.rows(OVERDUE_ROWS, OVERDUE_SECONDS):
        yield warning(
            "outbox-old",
            database.name,
            f"the outbox of {participant} is not being relayed",
            f"{rows:,} row(s), due for up to {age / 60:,.0f} min",
            f"Start the {participant} pool, or read its log",
        )
    for participant, own_envelope, routing_key, rows, fault, age in database.rows(REFUSED_ROWS):
        evidence = f"{rows:,} row(s), the oldest {age / 60:,.0f} min old: {fault}"
        if own_envelope:
            yield error(
                "outbox-row-refused",
                database.name,
                f"{participant} cannot publish a signal to {routing_key[:80]}",
                evidence,
                "Correct or delete its row in ordersaga_outbox; the saga's watchdog then re-sends what is "
                "missing",
            )
        else:
            yield warning(
                "outbox-address-refused",
                database.name,
                f"the queues of {routing_key[:80]} refuse messages of {participant}",
                evidence,
                "Start the pool that consumes them, or free space; waiting messages are then sent",
            )
    if database.domain != "orders":
        return
    if absent := [name for (name,) in database.rows(ABSENT_PARTICIPANTS, list(participants))]:
        yield error(
            "participant-absent",
            database.name,
            "open sagas wait for a participant that is not in the settings, so they never end",
            ", ".join(absent),
            "Add its module to ORDERSAGA_PARTICIPANTS and run its pool until these sagas have ended",
        )
    if sagas := database.rows(SAGAS_NEEDING_ATTENTION):
        yield warning(
            "sagas-need-attention",
            database.name,
            "sagas need attention: they cannot continue by themselves",
            f"{_count(sagas)}, such as {sagas[0][0]}: {sagas[0][1]}",
            "Correct the cause, then resume them in the admin",
        )
    if letters := database.rows(OPEN_DEAD_LETTERS):
        yield warning(
            "dead-letters-open",
            database.name,
            "dead letters are open",
            f"{_count(letters)}, such as number {letters[0][0]}: {letters[0][1]}",
            "Replay or discard each in the admin or with manage.py dead_letters",
        )


def _count(rows: list[object]) -> str:
    return f"{len(rows)}" if len(rows) <= 100 else "more than 100"


PAUSED_STEPS = """
SELECT p.step, p.participant, p.error, p.process, p.paused_at, extract(epoch
FROM clock_timestamp() - p.paused_at)::int,
    p.probes, p.probe_at, coalesce(sum(o.signals), 0)::bigint
FROM ordersaga_paused_step p
LEFT JOIN unnest(%s, %s) t (step, topic) ON t.step = p.step
LEFT JOIN ordersaga_outbox o ON o.participant = p.participant AND o.kind = 'paused' AND o.topic = t.topic
GROUP BY p.step ORDER BY p.step
"""


class PausedStep(NamedTuple):
    """One paused step.

    :ivar key: ``participant.step``.
    :ivar process: the process that paused it or probed it last.
    :ivar seconds: how long it has been paused.
    :ivar signals: how many signals wait for it.
    """

    key: str
    participant: str
    error: str
    process: str
    paused_at: datetime
    seconds: int
    probes: int
    probe_at: datetime
    signals: int


def find_paused_steps(database: Database, choreography: Choreography) -> Iterator[PausedStep]:
    """Yield the paused steps by name.

    :raises psycopg2.Error: when the database cannot be read.
    """
    topics = {step.key: topic_of(step.signature.consumes) for step in choreography.steps}
    for row in database.rows(PAUSED_STEPS, list(topics), list(topics.values())):
        yield PausedStep(*row)


IDLE_SECONDS = 60
"""Seconds after which an idle transaction is a finding."""

# 128 kB that cannot be compressed, so that the table must grow: a full disk still accepts a row that fits
# into an existing page.
WRITE_PROBE = """
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10s';
INSERT INTO ordersaga_pack (id, topic, payload)
SELECT -1, 'probe', string_agg(md5(random()::text), '') FROM generate_series(1, 4000)
"""

# PostgreSQL shows the state of other roles' sessions only to members of pg_read_all_stats.
IDLE_TRANSACTIONS = """
SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename::text),
    extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change)::int,
    EXISTS (SELECT 1 FROM pg_stat_activity w WHERE a.pid = ANY(pg_blocking_pids(w.pid)))
FROM pg_stat_activity a WHERE a.datname = current_database() AND a.state LIKE 'idle in transaction%%'
AND a.state_change < pg_catalog.clock_timestamp() - make_interval(secs => %s) ORDER BY a.state_change
"""


def check_obstacles(database: Database, choreography: Choreography) -> Iterator[Finding]:
    """Check for conditions that block work in a database that has tables."""
    if fault := _write_refusal(database):
        yield error(
            "database-refuses-writes",
            database.name,
            f"the role {database.role} cannot write to it",
            fault,
            "Read the server's log; free disk space, grant the privileges, or end the session that holds the "
            "lock",
        )
    for step in find_paused_steps(database, choreography):
        yield error(
            "step-paused",
            database.name,
            f"{step.key} failed for every saga and is paused",
            f"for {step.seconds:,} s, last by process {step.process}: {step.error}; {step.signals:,} "
            f"signal(s) wait",
            f"Correct the cause; the step then resumes, or at once: manage.py paused_steps resume {step.key}",
        )
    for pid, who, seconds, blocks in database.rows(IDLE_TRANSACTIONS, IDLE_SECONDS):
        harm = "other sessions wait for its locks" if blocks else "dead rows cannot be removed"
        yield warning(
            "transaction-left-open",
            database.name,
            f"a transaction is idle, and {harm}",
            f"process {pid} of {who}, for {seconds:,} s",
            f"End its client, or run: SELECT pg_terminate_backend({pid})",
        )


def _write_refusal(database: Database) -> str:
    """Return why the engine's tables refuse a row, or "". The test insert is rolled back."""
    try:
        connection = connect(database.url, application_name="doctor")
    except psycopg2.Error as fault:
        return first_line(fault)
    try:
        with connection.cursor() as cursor:
            cursor.execute(WRITE_PROBE)
    except psycopg2.errors.ReadOnlySqlTransaction:
        return ""  # reported separately: a standby, or default_transaction_read_only
    except psycopg2.Error as fault:
        return first_line(fault)
    finally:
        connection.close()
    return ""
