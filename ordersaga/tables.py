"""The engine's tables in databases of one's own, without a migration tool."""

from __future__ import annotations

from ordersaga.choreography import Choreography
from ordersaga.sql.schema import BELONGS, create

LOCK = 0x73616761  # "saga"
FOUND = "SELECT to_regclass('ordersaga_saga') IS NOT NULL"


def create_tables(choreography: Choreography) -> list[str]:
    """Create the engine's tables in the database of every participant that lacks them; gives their names.

    For a beginning and for tests; several processes may do it at once. It does not bring older tables up to
    date: where you keep migrations, write them there (``ordersaga.sql.schema.create()`` holds the
    statements).
    """
    made = []
    for name, participant in choreography.participants.items():
        with participant.database.begin() as tx:
            tx.cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            tx.cursor.execute(FOUND)
            if not tx.cursor.fetchone()[0]:
                for statement in create():
                    tx.cursor.execute(statement)
                made.append(name)
            tx.cursor.execute(BELONGS.format(name=name))
    return made
