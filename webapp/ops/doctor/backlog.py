"""What is no fault of the house and yet waits for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from webapp.ops.doctor.database import Patient
from webapp.ops.doctor.finding import Finding, error, warning

OLD = 300
"""Seconds after which what is due should long have left."""

DUE = """
SELECT participant, count(*), extract(epoch FROM clock_timestamp() - min(due_at))::float8 FROM ordersaga_outbox
WHERE due_at < clock_timestamp() - make_interval(secs => %s) GROUP BY participant ORDER BY participant
"""
REFUSED = """
SELECT participant, refusals IS NOT NULL AS alone, coalesce('to.' || recipient, topic), count(*), min(fault),
    extract(epoch FROM clock_timestamp() - min(created_at))::float8
FROM ordersaga_outbox WHERE fault IS NOT NULL GROUP BY participant, alone, 3 ORDER BY participant, alone, 3 LIMIT 20
"""
ATTENTION = """
SELECT id::text, attention FROM ordersaga_saga WHERE attention IS NOT NULL AND ended_at IS NULL ORDER BY id LIMIT 101
"""
ABSENT = """
SELECT name FROM (SELECT DISTINCT unnest(participants) AS name FROM ordersaga_saga WHERE ended_at IS NULL) AS awaited
WHERE name <> ALL(%s) ORDER BY name
"""
LETTERS = "SELECT id, error FROM audit_deadletter WHERE outcome IS NULL ORDER BY id DESC LIMIT 101"


def waiting(patient: Patient, participants: Sequence[str]) -> Iterator[Finding]:
    """Of a database whose tables stand.

    :param participants: those of the settings; what an open saga waits for was frozen when it began.
    """
    for participant, rows, age in patient.rows(DUE, OLD):
        yield warning(
            "outbox-old",
            patient.name,
            f"what {participant} has said does not leave",
            f"{rows:,} row(s), due for up to {age / 60:,.0f} min",
            f"Start the {participant} pool; its log tells more",
        )
    for participant, alone, address, rows, fault, age in patient.rows(REFUSED):
        evidence = f"{rows:,} row(s), the oldest {age / 60:,.0f} min old: {fault}"
        if alone:
            yield error(
                "outbox-row-refused",
                patient.name,
                f"{participant} cannot publish a signal to {address[:80]}",
                evidence,
                "Its row stands in ordersaga_outbox; correct or delete it, then its saga's watchdog repeats what is missing",
            )
        else:
            yield warning(
                "outbox-address-refused",
                patient.name,
                f"queues of {address[:80]} take no messages of {participant}",
                evidence,
                "Start the pool that consumes them, or make room; what waits is sent by itself then",
            )
    if patient.domain != "orders":
        return
    if absent := [name for (name,) in patient.rows(ABSENT, list(participants))]:
        yield error(
            "participant-absent",
            patient.name,
            "open sagas wait for who is no participant of the settings, and never end",
            ", ".join(absent),
            "Name its module in ORDERSAGA_PARTICIPANTS, and run its pool, until they have ended",
        )
    if sagas := patient.rows(ATTENTION):
        yield warning(
            "sagas-need-attention",
            patient.name,
            "sagas cannot go on by themselves",
            f"{_count(sagas)}, such as {sagas[0][0]}: {sagas[0][1]}",
            "Mend the cause, then resume them in the admin",
        )
    if letters := patient.rows(LETTERS):
        yield warning(
            "dead-letters-open",
            patient.name,
            "dead letters wait on the desk",
            f"{_count(letters)}, such as number {letters[0][0]}: {letters[0][1]}",
            "Replay or discard each: manage.py dead_letters list, or the admin",
        )


def _count(rows: list[object]) -> str:
    return f"{len(rows)}" if len(rows) <= 100 else "more than 100"
