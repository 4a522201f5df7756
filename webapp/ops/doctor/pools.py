"""Whether the pools are running: each process of a pool runs a relay with a session in its database."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kombu import Connection

from ordersaga.choreography import Choreography
from webapp.ops.doctor.database import Database
from webapp.ops.doctor.finding import Finding, error

RELAYS = """
SELECT DISTINCT substr(application_name, 7) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'relay %'
"""


def running_pools(database: Database) -> set[str]:
    """The participants whose relay has a session in a database."""
    return {name for (name,) in database.rows(RELAYS)}


def consumed_queues(connection: Connection, names: Collection[str]) -> set[str]:
    """The queues of RabbitMQ that have a consumer.

    :param connection: connected.
    """
    found = set()
    for name in names:
        with connection.channel() as channel:
            try:
                if channel.queue_declare(name, passive=True).consumer_count:
                    found.add(name)
            except connection.channel_errors:  # the queue does not exist, which is reported elsewhere
                continue
    return found


def check_pools(
    choreography: Choreography, examined: Collection[str], running: Collection[str]
) -> Iterator[Finding]:
    """Find participants and observers of which no process runs.

    :param examined: participants whose databases were reached; others are not reported.
    """
    for name, participant in choreography.participants.items():
        if (name in examined or not participant.steps) and name not in running:
            yield error(
                "pool-absent",
                f"{name} pool",
                "no process of it is running, so its signals wait",
                "no relay has a session in a database, and its queue has no consumer",
                f"Start it: celery -A workers.{name} worker",
            )
