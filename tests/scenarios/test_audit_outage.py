"""The audit cannot write for a while; replaying its dead letters completes the trail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime

from ordersaga.envelope import SignalRow, read_rows
from tests.scenarios.test_operator_actions import failing_database
from tests.support.installation import Installation
from tests.support.order_factory import ASLEEP, OrderFactory
from tests.support.polling import eventually
from tests.support.processes import ROOT

NO_SIGNALS = """
CREATE FUNCTION no_signals() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the trail is closed'; END $$;
CREATE TRIGGER no_signals BEFORE INSERT ON audit_sagaevent
FOR EACH ROW WHEN (NEW.kind IN ('signal', 'refusal')) EXECUTE FUNCTION no_signals();
"""
DEAD = "SELECT id, saga_id, body FROM audit_deadletter WHERE participant = 'audit' AND received_at >= %s"
HEARD = """
SELECT event_id::text, again FROM audit_sagaevent
WHERE saga_id = ANY(%s::uuid[]) AND kind IN ('signal', 'refusal')
"""
PAID, DECLINED = 5, 4
"""The number of signals and refusals of an order."""
OBSERVED = {"notice", "to.all-observers"}
"""Routing keys that carry only the audit's copies."""


def read_dead_signals(installation: Installation, began: datetime) -> list[SignalRow]:
    """Return the signals in the audit's dead letters."""
    return [
        row for *_, body in installation.probe.query("orders", DEAD, began) for row in read_rows(bytes(body))
    ]


def test_dead_audit_messages_are_replayed_after_their_sagas_end(
    installation: Installation,
) -> None:
    factory, began = OrderFactory(installation.databases, watchdog=ASLEEP), installation.probe.now()
    with failing_database(installation.probe, NO_SIGNALS, "orders"):
        paid, declined = factory.place_many(5, "TEA"), factory.place_many(3, "TEA", customer="poor")
        installation.probe.wait_until_confirmed(paid)
        installation.probe.wait_until_rolled_back(declined)
        eventually(
            lambda: len(read_dead_signals(installation, began)) == 5 * PAID + 3 * DECLINED,
            30,
            "all signals to the audit dead",
        )
    sagas = [*paid, *declined]
    assert installation.probe.query("orders", HEARD, sagas) == []
    assert {violation.code for violation in installation.probe.reconcile().violations} == {"audit-incomplete"}
    dead = installation.probe.query("orders", DEAD, began)
    assert any(saga is None for _, saga, _ in dead), "messages of several sagas are among them"

    with installation.amqp.recording() as published:
        command = [
            sys.executable,
            "manage.py",
            "dead_letters",
            "replay",
            *(str(message) for message, *_ in dead),
        ]
        done = subprocess.run(
            [*command, "--json", "--reason", "the trail is open again"],
            cwd=ROOT, env={**os.environ, **installation.env}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        installation.probe.wait_until_clean()

    assert all(json.loads(line)["done"] for line in done.stdout.splitlines())
    assert {message.delivery_info["routing_key"] for message in published} - OBSERVED == {"to.audit"}
    assert sorted(installation.probe.query("orders", HEARD, sagas)) == sorted(
        (row.id, bool(row.again)) for row in read_dead_signals(installation, began)
    )
