"""Find work in progress of steps that are no longer declared, such as renamed steps, before a deploy."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ordersaga.choreography import Choreography
from ordersaga.database import first_line
from ordersaga.participant import Participant
from ordersaga.sql import among, journal

OPEN_SAGAS = "SELECT id::text FROM ordersaga_saga WHERE ended_at IS NULL"
BATCH = 10_000
"""Sagas in one statement."""


class UndeclaredSteps(NamedTuple):
    """The result.

    :ivar faults: a message for each undeclared step in the journals of open sagas.
    :ivar unread: the error of each database that cannot be read.
    """

    faults: list[str]
    unread: dict[str, str]


def find_undeclared_steps(choreography: Choreography) -> UndeclaredSteps:
    """Compare the journals of open sagas with the declared steps."""
    found = UndeclaredSteps([], {})
    initiator = choreography.participants[choreography.saga.initiator]
    try:
        with initiator.database.begin() as tx:
            tx.cursor.execute(OPEN_SAGAS)
            sagas = [saga for (saga,) in tx.cursor.fetchall()]
    except Exception as error:  # noqa: BLE001 - drivers differ; the error is returned
        found.unread[initiator.name] = first_line(error)
        return found
    for participant in choreography.participants.values():
        if participant.steps:
            try:
                steps = _count_undeclared(participant, sagas)
            except Exception as error:  # noqa: BLE001 - as above
                found.unread[participant.name] = first_line(error)
            else:
                found.faults.extend(_describe(step, count) for step, count in sorted(steps.items()))
    return found


def _count_undeclared(participant: Participant, sagas: list[str]) -> Counter[str]:
    steps: Counter[str] = Counter()
    declared = [step.key for step in participant.steps.values()]
    with participant.database.begin() as tx:
        for at in range(0, len(sagas), BATCH):
            tx.cursor.execute(
                journal.IN_PROGRESS, [*among(sagas[at : at + BATCH]), f"{participant.name}.", declared]
            )
            steps.update(dict(tx.cursor.fetchall()))
    return steps


def _describe(step: str, sagas: int) -> str:
    name = step.partition(".")[2]
    return (
        f"{step} has work in progress for {sagas:,} saga{'' if sagas == 1 else 's'} and is not declared. "
        f'Declare it, or give the step that replaces it formerly="{name}".'
    )
