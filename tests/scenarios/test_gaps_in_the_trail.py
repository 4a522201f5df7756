"""The audit cannot write for a while; what died in its queue is replayed later and completes the trail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime

from ordersaga.envelope import SignalRow, read_rows
from tests.scenarios.test_operators import broken
from tests.support.installation import House
from tests.support.order_factory import ASLEEP, Shop
from tests.support.polling import eventually
from tests.support.processes import ROOT

NO_SIGNALS = """
CREATE FUNCTION no_signals() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the trail is closed'; END $$;
CREATE TRIGGER no_signals BEFORE INSERT ON audit_sagaevent
FOR EACH ROW WHEN (NEW.kind IN ('signal', 'refusal')) EXECUTE FUNCTION no_signals();
"""
DEAD = "SELECT id, saga_id, body FROM audit_deadletter WHERE participant = 'audit' AND received_at >= %s"
HEARD = "SELECT event_id::text, again FROM audit_sagaevent WHERE saga_id = ANY(%s::uuid[]) AND kind IN ('signal', 'refusal')"
PAID, DECLINED = 5, 4
"""Signals and refusals of an order."""
OBSERVED = {"notice", "to.all-observers"}
"""Routing keys under which only the audit's copies are published."""


def lost(house: House, began: datetime) -> list[SignalRow]:
    """The signals that the audit's dead letters hold."""
    return [row for *_, body in house.books.ask("orders", DEAD, began) for row in read_rows(bytes(body))]


def test_audit_messages_that_died_are_replayed_after_their_sagas_have_ended(house: House) -> None:
    shop, began = Shop(house.databases, watchdog=ASLEEP), house.books.now()
    with broken(house.books, NO_SIGNALS, "orders"):
        paid, declined = shop.place_many(5, "TEA"), shop.place_many(3, "TEA", customer="poor")
        house.books.all_confirmed(paid)
        house.books.all_rolled_back(declined)
        eventually(
            lambda: len(lost(house, began)) == 5 * PAID + 3 * DECLINED, 30, "all signals to the audit dead"
        )
    sagas = [*paid, *declined]
    assert house.books.ask("orders", HEARD, sagas) == []
    assert {violation.code for violation in house.books.reconcile().violations} == {"audit-incomplete"}
    dead = house.books.ask("orders", DEAD, began)
    assert any(saga is None for _, saga, _ in dead), "messages of several sagas are among them"

    with house.mail.overheard() as published:
        command = [
            sys.executable,
            "manage.py",
            "dead_letters",
            "replay",
            *(str(letter) for letter, *_ in dead),
        ]
        done = subprocess.run(
            [*command, "--json", "--reason", "the trail is open again"],
            cwd=ROOT, env={**os.environ, **house.env}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        house.books.are_clean()

    assert all(json.loads(line)["done"] for line in done.stdout.splitlines())
    assert {message.delivery_info["routing_key"] for message in published} - OBSERVED == {"to.audit"}
    assert sorted(house.books.ask("orders", HEARD, sagas)) == sorted(
        (row.id, bool(row.again)) for row in lost(house, began)
    )
