from __future__ import annotations

import os
import signal

import psutil

from tests.support.fault_injection.goods import PAUSES
from tests.support.installation import House
from tests.support.polling import eventually

CUT_OFF = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle in transaction' AND application_name NOT LIKE 'relay%%'
"""
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def test_a_stopped_process_whose_message_went_to_another_wakes_and_writes_nothing(house: House) -> None:
    house.switches.on(PAUSES)
    saga = house.shop.place(PAUSES)
    eventually(lambda: house.switches.came_by(PAUSES), 30, "the step, held before its commit")
    [zombie] = house.switches.came_by(PAUSES)
    parent = psutil.Process(zombie).ppid()

    os.kill(parent, signal.SIGSTOP)
    os.kill(zombie, signal.SIGSTOP)
    try:
        house.rabbitmq.close_connections(house.vhost)
        # the other process has the message, and waits for what the zombie's transaction will be
        eventually(lambda: house.books.ask("inventory", WAITING), 60, "the rival waits")
        house.switches.off(PAUSES)
        house.books.ask("inventory", CUT_OFF)
        house.books.all_confirmed([saga])
    finally:
        os.kill(zombie, signal.SIGCONT)
        os.kill(parent, signal.SIGCONT)

    house.books.all_confirmed(house.shop.place_many(5))
    assert house.books.movements(saga) == [(PAUSES, "held", 1), (PAUSES, "shipped", 1)]
    assert house.books.money(saga) == [("charge", -100)]
