"""The minimum retention of ended sagas, so that no late message is handled as new."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ordersaga.saga import Watchdog

if TYPE_CHECKING:
    from workers.settings import Settings

BROKER_KEEPS = timedelta(days=7)
"""How long the broker, or a restored backup of it, may delay a message."""
RETRIES = timedelta(hours=1)
"""An upper estimate of the time for retries of a step or an undo."""


def minimum_retention(ours: Settings) -> timedelta:
    """The longest time after which a message of an ended saga may arrive.

    Messages of a saga are emitted until its deadline, by its reminders and by retries; then only the broker
    can delay them. Sagas with open dead letters are never pruned.
    """
    watchdog = Watchdog(ours.watchdog, ours.watchdog_cap, ours.watchdog_rounds)
    reminders = sum((watchdog.wait(rounds) for rounds in range(ours.watchdog_rounds)), timedelta(0))
    return ours.deadline + reminders + RETRIES + BROKER_KEEPS
