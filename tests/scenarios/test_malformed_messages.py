"""No message on a pool's queue ends a process or runs unsigned, and each becomes a dead letter.

``FUZZ=100000`` sends that many instead of a thousand; ``FUZZ_SEED`` changes them.
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import suppress
from uuid import UUID

import pytest
from amqp import basic_message, spec
from kombu.transport import pyamqp

from ordersaga.celery import rabbitmq_transport
from ordersaga.celery.dead_letters import dead_message
from ordersaga.celery.message_verification import install, verify_and_build_headers
from ordersaga.errors import EnvelopeError
from tests.support.amqp_client import KEYRING
from tests.support.fuzz import Fuzz, Mutant, Sender
from tests.support.in_process import InProcessSagas
from tests.support.installation import PLAN, Installation
from tests.support.polling import eventually
from workers.audit.dead_letters import keep

COUNT = int(os.environ.get("FUZZ", "1000"))
SEED = int(os.environ.get("FUZZ_SEED", "13"))
STORED = "SELECT DISTINCT digest FROM audit_deadletter WHERE digest = ANY(%s)"


def processes(installation: Installation) -> dict[str, int | None]:
    """Return the ids of each pool's running processes."""
    return {
        worker.hostname(): worker.process.pid
        for pool in installation.pools
        for worker in pool
        if worker.process.alive
    }


def stored(installation: Installation, mutants: list[Mutant]) -> bool:
    wanted = {mutant.digest: mutant for mutant in mutants if mutant.kept}
    missing = wanted.keys() - {
        digest for (digest,) in installation.probe.query("orders", STORED, list(wanted))
    }
    some = [
        (mutant.exchange, mutant.key, mutant.properties[:400])
        for mutant in map(wanted.__getitem__, sorted(missing)[:3])
    ]
    assert not missing, f"{len(missing)} of {len(wanted)} are missing, such as {some}"
    return True


@pytest.mark.timeout(180 + COUNT // 10)
def test_every_mutated_message_becomes_a_dead_letter(installation: Installation) -> None:
    before, fuzz = processes(installation), Fuzz(SEED)
    sender = Sender(installation.rabbitmq, installation.vhost)

    sender.send(fuzz.messages(COUNT, [pool.name for pool in PLAN]))
    sender.send(fuzz.celery_messages(COUNT // 4))

    eventually(
        lambda: stored(installation, sender.accepted), 60 + COUNT / 50, "a dead letter of each message"
    )
    installation.probe.wait_until_confirmed([installation.factory.place() for _ in range(3)])
    assert processes(installation) == before
    assert sender.refused < COUNT / 4, f"{sender.refused} of {COUNT} were refused by the broker"
    ran = installation.probe.query(
        "inventory", "SELECT count(*) FROM ordersaga_journal WHERE saga_id = ANY(%s::uuid[])", sagas(sender)
    )
    assert ran == [(0,)]


def sagas(sender: Sender) -> list[str]:
    """Return the sagas named in the bodies."""
    found = []
    for mutant in sender.accepted:
        with suppress(ValueError, KeyError, IndexError, TypeError, RecursionError):
            found.append(str(UUID(json.loads(mutant.body)["packs"][0]["signals"][0][1])))
    return found


def received(mutant: Mutant) -> pyamqp.Message:
    """Return the message as a consumer receives it, without a broker."""
    message = basic_message.Message()
    message.inbound_header(struct.pack(">HHQ", spec.Basic.CLASS_ID, 0, len(mutant.body)) + mutant.properties)
    message.body = mutant.body
    message.delivery_info = {
        "consumer_tag": "1",
        "delivery_tag": 1,
        "redelivered": False,
        "exchange": "",
        "routing_key": "",
    }
    return pyamqp.Message(message)


def test_no_mutated_message_is_accepted_and_all_can_be_stored(in_process: InProcessSagas) -> None:
    """Twice as many messages, through the code that reads messages and writes dead letters, without
    processes.
    """
    install()
    rabbitmq_transport.install()
    mutants = list(Fuzz(SEED + 1).messages(2 * COUNT, ["inventory"]))
    for mutant in mutants:
        message = received(mutant)
        with pytest.raises(EnvelopeError) as refused:
            verify_and_build_headers(message, KEYRING, {"signal.OrderPlaced": "inventory.reserve_stock"})
        assert str(refused.value).isprintable()
        keep(dead_message(message, "inventory"))
    found = {
        digest
        for (digest,) in in_process.probe.query("orders", STORED, [mutant.digest for mutant in mutants])
    }
    assert found == {mutant.digest for mutant in mutants}
