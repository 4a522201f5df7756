"""What keeps a database that answers from being worked on: refused writes, paused steps, transactions that
are left open.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import psycopg2.errors

from ordersaga.choreography import Choreography
from ordersaga.database import first_line
from ordersaga.sessions import connect
from webapp.ops.doctor.database import Patient
from webapp.ops.doctor.finding import Finding, error, warning
from webapp.ops.doctor.paused import paused_steps

IDLE = 60
"""Seconds after which a transaction that does nothing is a finding."""

# 128 kB that cannot be compressed, so that the table has to grow: a full disk does not refuse a row that
# finds room in a page.
PROBE = """
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10s';
INSERT INTO ordersaga_pack (id, topic, payload)
SELECT -1, 'probe', string_agg(md5(random()::text), '') FROM generate_series(1, 4000)
"""

# Of other roles' sessions PostgreSQL shows no state to a role without pg_read_all_stats.
LEFT_OPEN = """
SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename::text),
    extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change)::int,
    EXISTS (SELECT 1 FROM pg_stat_activity w WHERE a.pid = ANY(pg_blocking_pids(w.pid)))
FROM pg_stat_activity a WHERE a.datname = current_database() AND a.state LIKE 'idle in transaction%%'
AND a.state_change < pg_catalog.clock_timestamp() - make_interval(secs => %s) ORDER BY a.state_change
"""


def obstacles(patient: Patient, choreography: Choreography) -> Iterator[Finding]:
    """Of a database whose tables stand, and that is not read-only by its settings."""
    if fault := _refused(patient):
        yield error(
            "database-refuses-writes",
            patient.name,
            f"the role {patient.role} cannot write to it",
            fault,
            "See the server's log; free its disk, give the role its privileges, or end the session that holds the lock",
        )
    for step in paused_steps(patient, choreography):
        yield error(
            "step-paused",
            patient.name,
            f"{step.key} failed for every saga and is paused",
            f"for {step.seconds:,} s, last by process {step.process}: {step.error}; {step.signals:,} signal(s) wait",
            f"Mend the cause: it resumes by itself, or at once with manage.py paused_steps resume {step.key}",
        )
    for pid, who, seconds, blocks in patient.rows(LEFT_OPEN, IDLE):
        harm = "others wait for its locks" if blocks else "dead rows stay"
        yield warning(
            "transaction-left-open",
            patient.name,
            f"a transaction does nothing, and {harm}",
            f"process {pid} of {who}, for {seconds:,} s",
            f"End its client, or SELECT pg_terminate_backend({pid})",
        )


def _refused(patient: Patient) -> str:
    """Why the engine's tables take no rows; empty when they do. What is tried is rolled back."""
    try:
        connection = connect(patient.url, application_name="doctor")
    except psycopg2.Error as fault:
        return first_line(fault)
    try:
        with connection.cursor() as cursor:
            cursor.execute(PROBE)
    except psycopg2.errors.ReadOnlySqlTransaction:
        return ""  # a finding of its own: a standby, or default_transaction_read_only
    except psycopg2.Error as fault:
        return first_line(fault)
    finally:
        connection.close()
    return ""
