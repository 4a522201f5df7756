"""Personal data, as canaries: a customer key, a product title and a reason that occur nowhere else take every
path of an order.

Afterwards they are in the databases and in the bodies that need them, and nowhere else.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from ordersaga.ids import new_id
from tests.support.amqp_client import envelope_body
from tests.support.db_override import django_at
from tests.support.fault_injection.skus import LEAKS_CUSTOMER, PAUSES
from tests.support.flower import Flower
from tests.support.installation import Installation
from tests.support.polling import eventually
from tests.support.pools import PARTICIPANTS, Pool, Pools
from tests.support.postgres import Postgres
from tests.support.rabbitmq import RabbitMQ
from webapp.orders import services

WORD = f"canary{secrets.token_hex(6)}"
CUSTOMER, POOR = f"{WORD}-customer", f"{WORD}-without-money"
TITLE, REASON = f"{WORD} of some street", f"{WORD} asked by telephone"
ARTICLE, SAGA = "ARTICLE-OF-A-CANARY", new_id()


ALL, JSON = ("-E", "-l", "DEBUG"), {"ORDERSAGA_LOG_FORMAT": "json"}
TALKATIVE = (
    Pool("orders", args=ALL, env=JSON),
    Pool("inventory", args=ALL, env=JSON),
    Pool("payments", args=ALL, kind="solo"),
    Pool("audit", args=ALL, env=JSON, kind="threads"),
)
"""Every pool logs as much as possible; one as text, the others as JSON."""


class Visible(NamedTuple):
    """Everything that was visible from outside while the canaries were in use."""

    sagas: dict[str, str]
    sent: set[str]
    messages: list[Any]
    events: list[Any]
    flower: str
    broker: str
    logs: dict[str, str]


@pytest.fixture(scope="module")
def shared_installation(
    postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ
) -> Iterator[Installation]:
    """Separate from the folder's: one message starts a saga without an order, so that these databases are not
    clean.
    """
    with Installation("canary", postgres, database_templates, rabbitmq) as installation:
        yield installation


@pytest.fixture(scope="module")
def seen(shared_installation: Installation) -> Iterator[Visible]:
    installation = shared_installation
    installation.ensure()
    flower = Flower(installation.env)
    installation.rabbitmq.ctl("set_log_level", "debug")
    with installation.without_pools(), ExitStack() as stack:
        others = Pools(installation.env, after=200)
        stack.callback(others.teardown)
        pools = others.launch(*TALKATIVE)
        stack.callback(flower.process.stop)
        flower.start()
        messages = stack.enter_context(installation.amqp.recording())
        events = stack.enter_context(installation.amqp.recording("celeryev"))
        sagas, sent = send_everything(installation)
        eventually(lambda: shows_all_ends(flower), 30, "all ends of tasks in Flower")
        broker = installation.rabbitmq.described(installation.vhost) + installation.rabbitmq.process.logs()
        found = seen_in(flower)
        logs = {
            name: "\n".join(worker.process.logs() for worker in cluster) for name, cluster in pools.items()
        }
        yield Visible(sagas, sent, messages, events, found, broker, {**logs, "flower": flower.process.logs()})
    installation.rabbitmq.ctl("set_log_level", "error")


def shows_all_ends(flower: Flower) -> bool:
    shown = {task["state"] for task in json.loads(flower.get("api/tasks?limit=1000")).values()}
    assert shown >= {"SUCCESS", "FAILURE"}, shown
    return True


def seen_in(flower: Flower) -> str:
    pages = ["api/tasks?limit=1000", "api/workers?refresh=1", "api/task/types", "tasks"]
    pages += [
        f"{page}/{task}" for task in json.loads(flower.get(pages[0])) for page in ("api/task/info", "task")
    ]
    return "\n".join(flower.get(page) for page in pages)


def send_everything(installation: Installation) -> tuple[dict[str, str], set[str]]:
    """Place and send everything, and wait for the ends; return the sagas by outcome, and the ids of foreign
    messages.
    """
    factory, probe = installation.factory, installation.probe
    factory.add_product(ARTICLE, 1000, title=TITLE)
    factory.open_wallets({CUSTOMER: 10**6, POOR: 0})
    sagas = {
        "confirmed": factory.place(ARTICLE, customer=CUSTOMER),
        "declined": factory.place(ARTICLE, customer=POOR),
        "out of stock": factory.place(ARTICLE, "GONE", customer=CUSTOMER),
        "failed": factory.place(ARTICLE, LEAKS_CUSTOMER, customer=CUSTOMER),
        "cancelled": cancelled_by_staff(installation),
    }
    probe.wait_until_ended(list(sagas.values()))
    sent = {installation.amqp.send(topic, body, to=to) for topic, body, to in foreign_messages()}
    # The broker's queue of unroutable messages exists while the test records.
    sent.add(
        installation.amqp.send(
            "rumour",
            envelope_body("rumour", SAGA, json.dumps({"customer": CUSTOMER})),
            exchange="ordersaga.unheard",
        )
    )
    wanted = len(sent) + 1  # and the failed order's
    eventually(lambda: len(dead_letters(installation)) == wanted, 60, f"{wanted} dead letters")
    return sagas, sent


def dead_letters(installation: Installation) -> list[tuple[str, str, str]]:
    found = installation.probe.dead_letters()
    return [(dead.participant, dead.topic, dead.error) for dead in found if WORD.encode() in dead.body]


def cancelled_by_staff(installation: Installation) -> str:
    installation.switches.on(PAUSES)
    saga = installation.factory.place(ARTICLE, PAUSES, customer=CUSTOMER)
    eventually(lambda: installation.switches.processes_at(PAUSES), 30, "inventory at work")
    with django_at(installation.databases.orders):
        services.request_cancellation(int(installation.probe.order_number(saga)), by="staff 3", reason=REASON)
    installation.probe.wait_for_status(saga, "ROLLING_BACK")
    installation.switches.off(PAUSES)
    return saga


def foreign_messages() -> list[tuple[str, bytes, str]]:
    """Yield messages that no step receives or can read: topic, body and queue."""
    malformed = {"order": CUSTOMER, "customer": TITLE, CUSTOMER: 1}
    return [
        ("signal.OrderPlaced", WORD.encode() + b"\xff", "inventory"),
        ("signal.OrderPlaced", envelope_body("signal.OrderPlaced", SAGA, json.dumps(malformed)), "inventory"),
        (
            "signal.Unknown",
            envelope_body("signal.Unknown", SAGA, json.dumps({"customer": CUSTOMER})),
            "inventory",
        ),
        # Its saga id is invalid, so that the database refuses it with a message that contains the value.
        ("answer", envelope_body("answer", WORD, json.dumps({"participant": CUSTOMER})), "orders"),
        ("notice", envelope_body("notice", WORD, json.dumps({"what": TITLE})), "audit"),
    ]


@pytest.mark.parametrize("name", [*PARTICIPANTS, "flower"])
def test_no_log_contains_personal_data(seen: Visible, name: str) -> None:
    assert WORD not in seen.logs[name]


def test_logs_still_show_what_happened(seen: Visible) -> None:
    assert "DataError: SQLSTATE 22P02" in seen.logs["inventory"]
    assert (
        "ValidationError: OrderPlaced: customer string_pattern_mismatch, currency missing"
        in seen.logs["inventory"]
    )
    assert "envelope_refused" in seen.logs["orders"]
    assert "envelope_refused" in seen.logs["audit"]


def test_flower_and_its_events_contain_no_personal_data(seen: Visible) -> None:
    result = [json.loads(event.body) for event in seen.events]
    kinds = {each["type"] for some in result for each in (some if isinstance(some, list) else [some])}
    assert {"task-received", "task-succeeded", "task-failed", "task-rejected"} <= kinds
    assert [event.body for event in seen.events if WORD in event.body] == []
    assert WORD not in seen.flower


def test_names_and_logs_of_the_broker_contain_no_personal_data(seen: Visible) -> None:
    assert '"orders"' in seen.broker
    assert WORD not in seen.broker


def test_personal_data_is_only_in_bodies_that_need_it(seen: Visible) -> None:
    ours = [each for each in seen.messages if each.properties["message_id"] not in seen.sent]
    outside = [(each.delivery_info["routing_key"], each.properties) for each in ours]
    assert WORD not in repr(outside)
    topics = {json.loads(each.body)["topic"] for each in ours if WORD.encode() in raw(each)}
    assert topics == {"signal.OrderPlaced", "signal.StockReserved", "notice"}


def test_a_dead_letter_keeps_the_message_for_authorised_users(
    shared_installation: Installation, seen: Visible
) -> None:
    [dead] = shared_installation.probe.dead_letters(seen.sagas["failed"])
    assert CUSTOMER in dead.message
    assert WORD not in str(shared_installation.probe.saga(seen.sagas["failed"]))


def raw(message: Any) -> bytes:
    return message.body.encode() if isinstance(message.body, str) else bytes(message.body)
