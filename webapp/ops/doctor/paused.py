"""The steps of a participant that are paused, with how many signals wait for each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from ordersaga.choreography import Choreography
from ordersaga.signal import topic_of
from webapp.ops.doctor.database import Patient

PAUSED = """
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


def paused_steps(database: Patient, choreography: Choreography) -> Iterator[PausedStep]:
    """By name; raises psycopg2.Error when the database cannot be read."""
    topics = {step.key: topic_of(step.signature.hears) for step in choreography.steps}
    for row in database.rows(PAUSED, list(topics), list(topics.values())):
        yield PausedStep(*row)
