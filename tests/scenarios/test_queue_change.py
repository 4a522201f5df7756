"""A release changes a queue's arguments: no pool is refused, and no message is lost while pools run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from ordersaga.celery import queue_change
from ordersaga.celery.queue_change import temporary_name
from ordersaga.celery.topology import UNLIMITED, queues
from tests.support.installation import Installation
from tests.support.polling import eventually
from tests.support.rabbitmq import PASSWORD, USER
from webapp.ops.doctor.rabbitmq import RabbitMQ as Examined
from webapp.ops.provision import Plan
from webapp.ops.provision.broker import ensure_topology
from workers.choreography import choreography

SETTLED = timedelta(seconds=3)
"""The tests' node reports twice a second."""


def read_arguments(installation: Installation, queue: str) -> dict[str, Any]:
    """Return the arguments of an existing queue, or an empty result."""
    found = json.loads(json.loads(json.dumps(installation.rabbitmq.described(installation.vhost))))[0]
    return next((dict(q["arguments"]) for q in found if q["name"] == queue), {})


def management(installation: Installation) -> str:
    return f"http://{USER}:{PASSWORD}@127.0.0.1:{installation.rabbitmq.management_port}"


def change_queue(installation: Installation, queue: str, **arguments: Any) -> None:
    """Change a queue as ``provision --change-queues`` does, to the choreography's queue
    with these arguments.
    """
    whole = choreography()

    def altered(_: Any) -> Iterator[Any]:
        each: Any
        for each in queues(whole):
            if each.name == queue:
                given = {
                    **(each.queue_arguments or {}),
                    **{f"x-{k.replace('_', '-')}": v for k, v in arguments.items()},
                }
                each.queue_arguments = {k: v for k, v in given.items() if v is not None}
            yield each

    with (
        patch("webapp.ops.doctor.rabbitmq.queues", altered),
        patch.multiple(queue_change, SETTLED=SETTLED, PATIENCE=timedelta(seconds=45)),
    ):
        for _, make in Examined(installation.broker_url, whole, management(installation)).queue_changes():
            make()


@contextmanager
def orders_meanwhile(installation: Installation) -> Iterator[list[str]]:
    """Place orders in a steady stream while the block runs."""
    sagas: list[str] = []
    stop = threading.Event()

    def place() -> None:
        while not stop.wait(0.1):
            sagas.extend(installation.factory.place_many(2))

    thread = threading.Thread(target=place)
    thread.start()
    try:
        yield sagas
    finally:
        stop.set()
        thread.join(20)


def test_a_queue_changes_under_load_and_loses_nothing(installation: Installation) -> None:
    with orders_meanwhile(installation) as sagas:
        change_queue(installation, "inventory", delivery_limit=20, max_length_bytes=10**8)
    installation.probe.wait_until_confirmed(sagas)
    assert read_arguments(installation, "inventory")["x-delivery-limit"] == 20
    assert read_arguments(installation, temporary_name("inventory")) == {}

    # A pool of this release works with the other arguments, and logs it.
    with installation.without("inventory"):
        waiting = installation.factory.place_many(20)
        eventually(
            lambda: installation.rabbitmq.queues(installation.vhost)["inventory"].ready,
            20,
            "messages in the queue",
        )
    installation.probe.wait_until_confirmed(waiting)
    assert any("queue_arguments_differ" in worker.logs() for worker in installation.pools["inventory"])

    work = Plan(dry=False)
    with orders_meanwhile(installation) as sagas, patch.object(queue_change, "SETTLED", SETTLED):
        ensure_topology(
            work, installation.broker_url, choreography(), management(installation), change_queues=True
        )
    installation.probe.wait_until_confirmed(sagas)
    assert [what for what in work.missing if "x-delivery-limit = 20, not 10" in what]
    assert read_arguments(installation, "inventory")["x-delivery-limit"] == 10


def test_messages_wait_in_a_queue_that_no_pool_consumes(installation: Installation) -> None:
    with installation.without("payments"):
        sagas = installation.factory.place_many(30)
        eventually(
            lambda: installation.rabbitmq.queues(installation.vhost)["payments"].ready,
            20,
            "messages in the queue",
        )
        change_queue(installation, "payments", delivery_limit=20)
        change_queue(installation, "payments")
    installation.probe.wait_until_confirmed(sagas)


def test_an_interrupted_change_is_finished_by_the_next(installation: Installation) -> None:
    class Interrupted(Exception):
        pass

    sagas = installation.factory.place_many(10)
    for step in ("_move", "_restore"):
        with (
            patch.object(queue_change.QueueChange, step, side_effect=Interrupted),
            pytest.raises(Interrupted),
        ):
            change_queue(installation, "inventory", delivery_limit=20 if step == "_move" else 30)
        sagas += installation.factory.place_many(10)
        examined = Examined(installation.broker_url, choreography(), management(installation))
        [unfinished] = [f for f in examined.examine() if f.code == "queue-change-unfinished"]
        assert unfinished.where == "queue inventory"
        change_queue(installation, "inventory", delivery_limit=20)
        assert read_arguments(installation, temporary_name("inventory")) == {}
    change_queue(installation, "inventory")
    installation.probe.wait_until_confirmed(sagas)


def test_dead_letters_survive_any_number_of_deliveries(installation: Installation) -> None:
    """RabbitMQ 4.0 to 4.2 drop a message after 20 deliveries, unless the queue sets another limit."""
    assert read_arguments(installation, "inventory.dead")["x-delivery-limit"] == UNLIMITED
    with installation.without("audit"):
        installation.amqp.send("signal.OrderPlaced", b"no envelope at all", to="inventory")
        eventually(
            lambda: installation.rabbitmq.queues(installation.vhost)["inventory.dead"].ready,
            30,
            "the dead letter",
        )
        with installation.rabbitmq.connect(installation.vhost) as connection:
            channel = connection.channel()
            for _ in range(25):
                found = eventually(lambda: channel.basic_get("inventory.dead"), 10, "the dead letter, again")
                channel.basic_reject(found.delivery_tag, requeue=True)
    eventually(
        lambda: any(d.body == b"no envelope at all" for d in installation.probe.dead_letters()),
        30,
        "the dead letter on the desk",
    )
