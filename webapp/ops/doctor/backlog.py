"""What is no fault of the house and yet waits for a person."""

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
"""Seconds after which what is due should long have left."""

OVERDUE_ROWS = """
SELECT participant, count(*), extract(epoch FROM clock_timestamp() - min(due_at))::float8 FROM ordersaga_outbox
WHERE due_at < clock_timestamp() - make_interval(secs => %s) GROUP BY participant ORDER BY participant
"""
REFUSED_ROWS = """
SELECT participant, refusals IS NOT NULL AS alone, coalesce('to.' || recipient, topic), count(*), min(fault),
    extract(epoch FROM clock_timestamp() - min(created_at))::float8
FROM ordersaga_outbox WHERE fault IS NOT NULL GROUP BY participant, alone, 3 ORDER BY participant, alone, 3 LIMIT 20
"""
SAGAS_NEEDING_ATTENTION = """
SELECT id::text, attention FROM ordersaga_saga WHERE attention IS NOT NULL AND ended_at IS NULL ORDER BY id LIMIT 101
"""
ABSENT_PARTICIPANTS = """
SELECT name FROM (SELECT DISTINCT unnest(participants) AS name FROM ordersaga_saga WHERE ended_at IS NULL) AS awaited
WHERE name <> ALL(%s) ORDER BY name
"""
OPEN_DEAD_LETTERS = "SELECT id, error FROM audit_deadletter WHERE outcome IS NULL ORDER BY id DESC LIMIT 101"


def check_backlog(database: Database, participants: Sequence[str]) -> Iterator[Finding]:
    """Of a database whose tables stand.

    :param participants: those of the settings; what an open saga waits for was frozen when it began.
    """
    for participant, rows, age in database.rows(OVERDUE_ROWS, OVERDUE_SECONDS):
        yield warning(
            "outbox-old",
            database.name,
            f"what {participant} has said does not leave",
            f"{rows:,} row(s), due for up to {age / 60:,.0f} min",
            f"Start the {participant} pool; its log tells more",
        )
    for participant, alone, address, rows, fault, age in database.rows(REFUSED_ROWS):
        evidence = f"{rows:,} row(s), the oldest {age / 60:,.0f} min old: {fault}"
        if alone:
            yield error(
                "outbox-row-refused",
                database.name,
                f"{participant} cannot publish a signal to {address[:80]}",
                evidence,
                "Its row stands in ordersaga_outbox; correct or delete it, then its saga's watchdog repeats what is missing",
            )
        else:
            yield warning(
                "outbox-address-refused",
                database.name,
                f"queues of {address[:80]} take no messages of {participant}",
                evidence,
                "Start the pool that consumes them, or make room; what waits is sent by itself then",
            )
    if database.domain != "orders":
        return
    if absent := [name for (name,) in database.rows(ABSENT_PARTICIPANTS, list(participants))]:
        yield error(
            "participant-absent",
            database.name,
            "open sagas wait for who is no participant of the settings, and never end",
            ", ".join(absent),
            "Name its module in ORDERSAGA_PARTICIPANTS, and run its pool, until they have ended",
        )
    if sagas := database.rows(SAGAS_NEEDING_ATTENTION):
        yield warning(
            "sagas-need-attention",
            database.name,
            "sagas cannot go on by themselves",
            f"{_count(sagas)}, such as {sagas[0][0]}: {sagas[0][1]}",
            "Mend the cause, then resume them in the admin",
        )
    if letters := database.rows(OPEN_DEAD_LETTERS):
        yield warning(
            "dead-letters-open",
            database.name,
            "dead letters wait on the desk",
            f"{_count(letters)}, such as number {letters[0][0]}: {letters[0][1]}",
            "Replay or discard each: manage.py dead_letters list, or the admin",
        )


def _count(rows: list[object]) -> str:
    return f"{len(rows)}" if len(rows) <= 100 else "more than 100"


PAUSED_STEPS = """
SELECT p.step, p.participant, p.error, p.process, p.paused_at, extract(epoch FROM clock_timestamp() - p.paused_at)::int,
    p.probes, p.probe_at, coalesce(sum(o.signals), 0)::bigint
FROM ordersaga_paused_step p
LEFT JOIN unnest(%s, %s) t (step, topic) ON t.step = p.step
LEFT JOIN ordersaga_outbox o ON o.participant = p.participant AND o.kind = 'paused' AND o.topic = t.topic
GROUP BY p.step ORDER BY p.step
"""


class PausedStep(NamedTuple):
    """One paused step.

    :ivar key: ``participant.step``.
    :ivar process: that paused it or probed last.
    :ivar seconds: for how long it is paused.
    :ivar signals: how many wait for it.
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
    """By name; raises psycopg2.Error when the database cannot be read."""
    topics = {step.key: topic_of(step.signature.consumes) for step in choreography.steps}
    for row in database.rows(PAUSED_STEPS, list(topics), list(topics.values())):
        yield PausedStep(*row)


IDLE_SECONDS = 60
"""Seconds after which a transaction that does nothing is a finding."""

# 128 kB that cannot be compressed, so that the table has to grow: a full disk does not refuse a row that
# finds room in a page.
WRITE_PROBE = """
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10s';
INSERT INTO ordersaga_pack (id, topic, payload)
SELECT -1, 'probe', string_agg(md5(random()::text), '') FROM generate_series(1, 4000)
"""

# Of other roles' sessions PostgreSQL shows no state to a role without pg_read_all_stats.
IDLE_TRANSACTIONS = """
SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename::text),
    extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change)::int,
    EXISTS (SELECT 1 FROM pg_stat_activity w WHERE a.pid = ANY(pg_blocking_pids(w.pid)))
FROM pg_stat_activity a WHERE a.datname = current_database() AND a.state LIKE 'idle in transaction%%'
AND a.state_change < pg_catalog.clock_timestamp() - make_interval(secs => %s) ORDER BY a.state_change
"""


def check_obstacles(database: Database, choreography: Choreography) -> Iterator[Finding]:
    """Of a database whose tables stand, and that is not read-only by its settings."""
    if fault := _write_refusal(database):
        yield error(
            "database-refuses-writes",
            database.name,
            f"the role {database.role} cannot write to it",
            fault,
            "See the server's log; free its disk, give the role its privileges, or end the session that holds the lock",
        )
    for step in find_paused_steps(database, choreography):
        yield error(
            "step-paused",
            database.name,
            f"{step.key} failed for every saga and is paused",
            f"for {step.seconds:,} s, last by process {step.process}: {step.error}; {step.signals:,} signal(s) wait",
            f"Mend the cause: it resumes by itself, or at once with manage.py paused_steps resume {step.key}",
        )
    for pid, who, seconds, blocks in database.rows(IDLE_TRANSACTIONS, IDLE_SECONDS):
        harm = "others wait for its locks" if blocks else "dead rows stay"
        yield warning(
            "transaction-left-open",
            database.name,
            f"a transaction does nothing, and {harm}",
            f"process {pid} of {who}, for {seconds:,} s",
            f"End its client, or SELECT pg_terminate_backend({pid})",
        )


def _write_refusal(database: Database) -> str:
    """Why the engine's tables take no rows; empty when they do. What is tried is rolled back."""
    try:
        connection = connect(database.url, application_name="doctor")
    except psycopg2.Error as fault:
        return first_line(fault)
    try:
        with connection.cursor() as cursor:
            cursor.execute(WRITE_PROBE)
    except psycopg2.errors.ReadOnlySqlTransaction:
        return ""  # a finding of its own: a standby, or default_transaction_read_only
    except psycopg2.Error as fault:
        return first_line(fault)
    finally:
        connection.close()
    return ""
