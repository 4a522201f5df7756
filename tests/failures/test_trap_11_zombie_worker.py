from __future__ import annotations

import os
import signal

import psutil

from tests.support.databases import LOCK_WAITERS
from tests.support.fault_injection.skus import PAUSES
from tests.support.installation import Installation
from tests.support.polling import eventually

CUT_OFF = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle in transaction' AND application_name NOT LIKE 'relay%%'
"""


def test_a_resumed_process_cannot_commit_redelivered_work(
    installation: Installation,
) -> None:
    installation.switches.on(PAUSES)
    saga = installation.factory.place(PAUSES)
    eventually(lambda: installation.switches.processes_at(PAUSES), 30, "the step, held before its commit")
    [zombie] = installation.switches.processes_at(PAUSES)
    parent = psutil.Process(zombie).ppid()

    os.kill(parent, signal.SIGSTOP)
    os.kill(zombie, signal.SIGSTOP)
    try:
        installation.rabbitmq.close_connections(installation.vhost)
        # The other process has the message, and waits for the outcome of the zombie's transaction.
        eventually(lambda: installation.probe.query("inventory", LOCK_WAITERS)[0][0], 60, "the rival waits")
        installation.switches.off(PAUSES)
        installation.probe.query("inventory", CUT_OFF)
        installation.probe.wait_until_confirmed([saga])
    finally:
        os.kill(zombie, signal.SIGCONT)
        os.kill(parent, signal.SIGCONT)

    installation.probe.wait_until_confirmed(installation.factory.place_many(5))
    assert installation.probe.movements(saga) == [(PAUSES, "held", 1), (PAUSES, "shipped", 1)]
    assert installation.probe.ledger(saga) == [("charge", -100)]
