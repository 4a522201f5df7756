"""How long the house must remember what it has done, so that nothing that comes back is taken for new."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ordersaga.saga import Watchdog

if TYPE_CHECKING:
    from workers.settings import Settings

BROKER_KEEPS = timedelta(days=7)
"""How long a message may lie in a queue, or in a backup of the broker, and still be delivered."""
RETRIES = timedelta(hours=1)
"""How long a step or an undo may be tried again before it is given up; generous."""


def minimum_retention(ours: Settings) -> timedelta:
    """The longest time after which a message of an ended saga may still arrive.

    What may be said of a saga is said until its deadline, by all its reminders, and by retries; after that
    only the broker can hold it. Dead letters that are open keep their sagas from being forgotten, however old
    they are.
    """
    dog = Watchdog(ours.watchdog, ours.watchdog_cap, ours.watchdog_rounds)
    reminders = sum((dog.wait(rounds) for rounds in range(ours.watchdog_rounds)), timedelta(0))
    return ours.deadline + reminders + RETRIES + BROKER_KEEPS
