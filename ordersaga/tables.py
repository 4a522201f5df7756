"""Create the engine's tables without a migration tool."""

from __future__ import annotations

from ordersaga.choreography import Choreography
from ordersaga.database import has_tables
from ordersaga.sql.schema import ADD_PARTICIPANT, create

LOCK = 0x73616761  # "saga"


def create_tables(choreography: Choreography) -> list[str]:
    """Create the engine's tables in each participant's database that has none.

    For first steps and tests; several processes may call it at once. It does not migrate older tables: a
    project with migrations runs the statements of ``ordersaga.sql.schema.create()`` there.

    :returns: the participants whose tables were created.
    """
    created = []
    for name, participant in choreography.participants.items():
        with participant.database.begin() as tx:
            tx.cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            if not has_tables(tx.cursor):
                for statement in create():
                    tx.cursor.execute(statement)
                created.append(name)
            tx.cursor.execute(ADD_PARTICIPANT.format(name=name))
    return created
