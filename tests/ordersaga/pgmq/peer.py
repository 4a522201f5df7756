"""A consumer and a Celery application that the tests of ``pgmq://`` run as processes.

``python -m tests.ordersaga.pgmq.peer hold|keep|settle QUEUE`` prints each message on a line; ``celery -A
tests.ordersaga.pgmq.peer worker`` is the worker.

``PEER_BROKER`` is the broker's URL, ``PEER_VISIBILITY`` its visibility timeout in seconds.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from celery import Celery, bootsteps
from kombu import Connection, Consumer, Exchange, Queue, binding

from ordersaga.celery import hung_children
from ordersaga.celery.pgmq import broker_settings, extend_visibility, install
from tests.support.time_scale import scaled

VISIBILITY = int(os.environ.get("PEER_VISIBILITY") or round(scaled(2)))
LIMIT = 3

signals = Exchange("ordersaga", type="topic", arguments={"alternate-exchange": "ordersaga.unheard"})
unheard = Exchange("ordersaga.unheard", type="fanout")
dead = Exchange("ordersaga.dead", type="direct")
unheard_queue = Queue("ordersaga.unheard", exchange=unheard)


def participant(name: str, *patterns: str) -> Queue:
    return Queue(
        name,
        bindings=[binding(signals, routing_key=pattern) for pattern in (*patterns, f"to.{name}")],
        queue_arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": LIMIT,
            "x-dead-letter-exchange": dead.name,
            "x-dead-letter-routing-key": name,
        },
    )


def dead_queue(name: str) -> Queue:
    return Queue(f"{name}.dead", exchange=dead, routing_key=name)


inventory = participant("inventory", "signal.OrderPlaced", "refusal.#")
payments = participant("payments", "signal.StockReserved", "refusal.#")
queues = [unheard_queue, inventory, payments, dead_queue("inventory"), dead_queue("payments")]


def connect(url: str, visibility: int = VISIBILITY) -> Connection:
    """Return a connection that has declared the whole topology, as each process of the engine does."""
    install()
    settings = broker_settings(url, visibility_timeout=visibility)
    connection = Connection(settings["broker_url"], transport_options=settings["broker_transport_options"])
    channel = connection.default_channel
    for exchange in (unheard, signals, dead):
        exchange(channel).declare()
    for queue in queues:
        queue(channel).declare()
    return connection


def consume(mode: str, name: str) -> None:
    with connect(os.environ["PEER_BROKER"]) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 10, False)

        def given(message: Any) -> None:
            say(f"given {message.payload['n']} for the {message.headers['x-delivery-count'] + 1}. time")
            if mode == "settle":
                message.ack()

        def keep() -> None:
            while True:
                extend_visibility(channel)
                time.sleep(VISIBILITY / 4)

        if mode == "keep":
            threading.Thread(target=keep, daemon=True).start()
        queue = next(queue for queue in queues if queue.name == name)
        with Consumer(channel, [queue], on_message=given):
            say("ready")
            while True:
                try:
                    connection.drain_events(timeout=60)
                except TimeoutError:
                    return


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Keeper(bootsteps.StartStopStep):
    """Extends the visibility of the worker's messages, as the engine does."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, c: Any) -> None:
        c.timer.call_repeatedly(VISIBILITY / 4, extend_visibility, (c.task_consumer.channel,))


app = Celery("peer")
if "PEER_BROKER" in os.environ:
    install()
    app.conf.update(broker_settings(os.environ["PEER_BROKER"], visibility_timeout=VISIBILITY))
app.conf.update(
    task_queues=[inventory],
    task_default_queue="inventory",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_acks_on_failure=False,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=True,
)
app.steps["consumer"].add(Keeper)
hung_children.EVERY = 0.4
app.ordersaga = SimpleNamespace(children=hung_children.ChildHeartbeats())
app.steps["worker"].add(hung_children.EndSilentChildren)


@app.task(name="peer.note")
def note(path: str, word: str, seconds: float = 0) -> None:
    """Append ``word`` to the file ``log_file`` at the start and the end of a task of ``seconds``."""
    with Path(path).open("a") as file:
        file.write(f"{word} begun\n")
    time.sleep(seconds)
    with Path(path).open("a") as file:
        file.write(f"{word} done\n")


@app.task(name="peer.fail")
def fail() -> None:
    raise ValueError("on purpose")


if __name__ == "__main__":
    consume(*sys.argv[1:3])
