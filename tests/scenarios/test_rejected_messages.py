"""Messages that must not be accepted become dead letters, and the pools continue."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator

import pytest

from ordersaga.envelope import MAX_BYTES, read_rows
from ordersaga.ids import new_id
from ordersaga.signing import Keyring
from tests.support.amqp_client import envelope_body
from tests.support.db_probe import DeadLetterRow
from tests.support.installation import Installation
from tests.support.order_factory import ASLEEP, OrderFactory
from tests.support.polling import eventually

DEADLINE_NOW = "UPDATE ordersaga_outbox SET due_at = now() WHERE saga_id = %s AND kind = 'deadline'"
TOPIC = "signal.OrderPlaced"
LINE = '{"sku":"TEA","quantity":1,"amount":450}'
SAMPLE = f'{{"order":"1","customer":"ann","currency":"EUR","amount":450,"lines":[{LINE}]}}'
STRANGER = Keyring([("stranger", b"a secret that no pool here knows")])
IMPOSTOR = Keyring([("this", b"another secret under a known name")])


def genuine() -> bytes:
    return envelope_body(TOPIC, new_id(), SAMPLE)


def wait_for_dead_letter(installation: Installation, body: bytes) -> DeadLetterRow:
    """Wait for the one dead letter with this body, which must come from the broker."""
    found = eventually(
        lambda: [dead for dead in installation.probe.dead_letters() if dead.body == body],
        30,
        "the dead letter",
    )
    assert len(found) == 1
    assert found[0].source == "broker"
    return found[0]


@pytest.fixture(autouse=True)
def _pools_continue(installation: Installation) -> Iterator[None]:
    yield
    installation.probe.wait_until_confirmed([installation.factory.place("TEA")])


def test_an_undecodable_message_is_dead_lettered(installation: Installation) -> None:
    body = b"\xff\xfe not an envelope" + os.urandom(16)
    installation.amqp.send(TOPIC, body, to="inventory")
    assert wait_for_dead_letter(installation, body).error == "rejected"


def test_an_unknown_content_type_is_dead_lettered(installation: Installation) -> None:
    body = b"\x80\x04pickled" + os.urandom(16)
    installation.amqp.send(TOPIC, body, to="inventory", content_type="application/x-python-serialize")
    wait_for_dead_letter(installation, body)


def test_an_unsigned_message_is_dead_lettered(installation: Installation) -> None:
    body = genuine()
    installation.amqp.send(TOPIC, body, to="inventory", keyring=None)
    wait_for_dead_letter(installation, body)


@pytest.mark.parametrize("saga", ["no saga", "7"])
def test_an_unsigned_message_with_a_bad_saga_id_is_dead_lettered(
    installation: Installation, saga: str
) -> None:
    body = envelope_body(TOPIC, saga, SAMPLE).replace(b'"7"', b"7")
    installation.amqp.send(TOPIC, body, to="inventory", keyring=None)
    wait_for_dead_letter(installation, body)


@pytest.mark.parametrize("keyring", [STRANGER, IMPOSTOR], ids=["unknown key", "wrong secret"])
def test_a_wrongly_signed_message_is_dead_lettered(installation: Installation, keyring: Keyring) -> None:
    body = genuine()
    installation.amqp.send(TOPIC, body, to="inventory", keyring=keyring)
    wait_for_dead_letter(installation, body)


def test_an_empty_message_is_dead_lettered(installation: Installation) -> None:
    before = [dead for dead in installation.probe.dead_letters() if not dead.body]
    installation.amqp.send(TOPIC, b"", to="inventory")
    found = eventually(
        lambda: [dead for dead in installation.probe.dead_letters() if not dead.body][len(before) :],
        30,
        "the dead letter",
    )
    assert [(dead.source, dead.participant) for dead in found] == [("broker", "inventory")]


FORGED = {
    "priority": 9,
    "expiration": "600000",
    "correlation_id": "\ud800",
    "reply_to": "celery.pidbox",
    "timestamp": 2**63,
    "message_id": "7",
    "type": "\0",
    "app_id": "x" * 255,
    "content_encoding": "zlib",
}


@pytest.mark.parametrize("count", ["many", 7])
def test_forged_properties_of_a_genuine_message_are_ignored(
    installation: Installation, count: object
) -> None:
    """A genuine envelope with seven deliveries would be split."""
    with installation.without("inventory"):
        sagas = OrderFactory(installation.databases, watchdog=ASLEEP).place_many(2)
        original = eventually(lambda: installation.amqp.take("inventory"), 30, "OrderPlaced")
        installation.amqp.send(
            TOPIC,
            original.body,
            signals=2,
            to="inventory",
            headers={"x-delivery-count": count},
            properties=FORGED,
        )
    installation.probe.wait_until_confirmed(sagas)
    assert not any("envelope_split" in worker.process.logs() for worker in installation.pools["inventory"])


@pytest.mark.parametrize("saga", ["x", "", "\0", "\ud800", 5, None])
def test_a_dead_letter_without_a_saga_does_not_block_others(installation: Installation, saga: object) -> None:
    pack = {
        "participant": "orders",
        "step": None,
        "task": None,
        "attempt": 1,
        "signals": [[new_id(), saga, *[None] * 7]],
    }
    foreign, other = json.dumps({"packs": [pack]}).encode(), genuine()
    for each in (foreign, other):
        installation.amqp.send(TOPIC, each, to="inventory", keyring=None, headers={"x-delivery-count": 2**40})
    assert wait_for_dead_letter(installation, other)
    assert wait_for_dead_letter(installation, foreign)


def test_an_oversized_message_is_dead_lettered(installation: Installation) -> None:
    body = b" " * MAX_BYTES + genuine()
    installation.amqp.send(TOPIC, body, to="inventory")
    wait_for_dead_letter(installation, body)


def test_a_compression_bomb_is_dead_lettered(installation: Installation) -> None:
    bomb = zlib.compress(b"0" * 64 * 1024 * 1024 + os.urandom(16))
    installation.amqp.send(TOPIC, bomb, to="inventory", headers={"compression": "application/x-gzip"})
    wait_for_dead_letter(installation, bomb)


def test_a_topic_of_another_participant_is_dead_lettered(installation: Installation) -> None:
    body = envelope_body("signal.Unknown", new_id(), "{}")
    installation.amqp.send("signal.Unknown", body, to="inventory")
    assert wait_for_dead_letter(installation, body).participant == "inventory"


def test_an_unroutable_topic_is_dead_lettered(installation: Installation) -> None:
    body = envelope_body("rumour", new_id(), "{}")
    installation.amqp.send("rumour", body)
    found = eventually(
        lambda: [dead for dead in installation.probe.dead_letters() if dead.body == body],
        30,
        "the dead letter",
    )
    assert found[0].source == "unheard"
    key = "SELECT headers ->> 'property routing_key' FROM audit_deadletter WHERE body = %s"
    assert installation.probe.query("orders", key, body) == [("rumour",)]


def test_a_message_for_another_celery_task_is_dead_lettered(installation: Installation) -> None:
    body = b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    installation.amqp.send("celery.backend_cleanup", body, to="inventory", content_type="application/json")
    wait_for_dead_letter(installation, body)


def test_an_unreadable_version_is_dead_lettered(installation: Installation) -> None:
    with installation.without("inventory"):
        sagas = OrderFactory(installation.databases, watchdog=ASLEEP).place_many(3)
        original = read_rows(eventually(lambda: installation.amqp.take("inventory"), 30, "OrderPlaced").body)
        for row, version in zip(original, (1, 0, 99), strict=True):
            installation.amqp.send(
                TOPIC, envelope_body(TOPIC, row.saga, json.dumps(row.data), version=version), to="inventory"
            )
    current, old, new = (row.saga for row in original)
    assert {current, old, new} == set(sagas)

    installation.probe.wait_until_confirmed([current])
    installation.probe.wait_until_rolled_back([old])
    assert "override upcast" in str(installation.probe.saga(old).reason)
    [dead] = eventually(lambda: installation.probe.dead_letters(old), 30, "the dead letter")
    assert (dead.source, dead.participant, dead.step) == (
        "participant",
        "inventory",
        "inventory.reserve_stock",
    )

    # A newer version waits for the deploy of this pool, until the deadline.
    assert installation.probe.saga(new).status == "PENDING"
    installation.probe.query("orders", DEADLINE_NOW, new)
    installation.probe.wait_until_rolled_back([new])
    assert installation.probe.saga(new).refusal == "OrderExpired"
    assert installation.probe.dead_letters(new) == []
