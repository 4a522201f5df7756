"""The doctor finds each fault planted in running servers, that fault alone, and nothing where nothing is
wrong.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from kombu import Connection
from rich.console import Console

from ordersaga.celery.pgmq.names import table_name
from ordersaga.celery.topology import KIND, declare, queues
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled
from tests.webapp.doctor_env import VHOST, House, healthy
from tests.webapp.doctor_faults import IN_POSTGRES, Planted
from webapp.ops import broker
from webapp.ops.doctor import Finding
from webapp.ops.doctor.database import Patient
from webapp.ops.doctor.finding import as_json, show
from webapp.ops.doctor.schema_objects import recorded, standing
from workers.choreography import choreography

DOMAINS = ("orders", "inventory", "payments")


@pytest.fixture(scope="module")
def house(postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ) -> Iterator[House]:
    with healthy(postgres, database_templates, rabbitmq) as made:
        yield made


def codes(findings: list[Finding]) -> set[str]:
    return {finding.code for finding in findings}


def test_nothing_is_found_where_nothing_is_wrong(house: House) -> None:
    assert house.examined() == []


# ------------------------------------------------------------------------------------------------- faults in
# PostgreSQL


@pytest.mark.parametrize("fault", IN_POSTGRES, ids=lambda fault: f"{fault.code}: {fault.plant[0][:40]}")
def test_a_fault_in_postgresql_is_found_and_nothing_else(house: House, fault: Planted) -> None:
    if fault.plant[0] == "DELETE FROM alembic_version":
        house.run(fault.owner, "CREATE TABLE kept_version AS SELECT version_num AS v FROM alembic_version")
    house.run(fault.owner, *fault.plant)
    try:
        found = eventually(
            house.examined, 5, fault.code
        )  # the server takes a moment to read its settings again
    finally:
        house.run(fault.owner, *fault.heal)
    assert [(finding.code, finding.level) for finding in found] == [(fault.code, fault.level)], found
    assert found[0].remedy
    assert found[0].evidence


# -------------------------------------------------------------------------------------------------- faults in
# RabbitMQ


def queue(**arguments: Any) -> tuple[Callable[[House], None], Callable[[House], None]]:
    """The inventory's queue was declared with other arguments."""
    return lambda house: house.redeclare("inventory", **arguments), lambda house: house.heal_queue(
        "inventory"
    )


def policy(house: House) -> None:
    house.ask(
        "PUT",
        f"policies/{VHOST}/short",
        pattern="^inventory$",
        definition={"message-ttl": 1000},
        **{"apply-to": "queues"},
    )


def without_binding(house: House) -> None:
    house.ask("DELETE", f"bindings/{VHOST}/e/ordersaga/q/payments/signal.StockReserved")


def alternate_lost(house: House) -> None:
    house.ask("DELETE", f"exchanges/{VHOST}/ordersaga")
    house.ask("PUT", f"exchanges/{VHOST}/ordersaga", type="topic", durable=True)
    rebind(house)


def rebind(house: House) -> None:
    with Connection(house.settings.broker_url) as connection, connection.channel() as channel:
        for each in queues(choreography()):
            for one in each.bindings:
                each(channel).bind_to(one.exchange.name, one.routing_key)


def exchange_anew(house: House) -> None:
    house.ask("DELETE", f"exchanges/{VHOST}/ordersaga")
    house.declare()


def exchange_that_goes_with_its_queues(house: House) -> None:
    house.ask("DELETE", f"exchanges/{VHOST}/ordersaga")
    house.ask(
        "PUT", f"exchanges/{VHOST}/ordersaga", type="topic", durable=True, auto_delete=True,
        arguments={"alternate-exchange": "ordersaga.unheard"},
    )  # fmt: skip
    rebind(house)


def no_longer(path: str) -> Callable[[House], None]:
    return lambda house: house.ask("DELETE", path)


def tagged(tags: str) -> Callable[[House], None]:
    return lambda house: house.ask("PUT", "users/pools", password="a-secret-of-its-own", tags=tags)


def waits(queue: str) -> tuple[Callable[[House], None], Callable[[House], None]]:
    """A message in a queue that no process consumes."""

    def plant(house: House) -> None:
        house.ask(
            "POST", f"exchanges/{VHOST}/amq.default/publish",
            properties={"delivery_mode": 2}, routing_key=queue, payload="x", payload_encoding="string",
        )  # fmt: skip

    return plant, no_longer(f"queues/{VHOST}/{queue}/contents")


def interrupted_change(house: House) -> None:
    house.ask("PUT", f"queues/{VHOST}/inventory.changing", durable=True, arguments={"x-queue-type": "quorum"})


def of_another_kind(house: House) -> None:
    house.ask("DELETE", f"exchanges/{VHOST}/{KIND}")
    house.ask(
        "PUT",
        f"exchanges/{VHOST}/{KIND}",
        type="direct",
        durable=True,
        arguments={"alternate-exchange": "envelope"},
    )


IN_RABBITMQ = {
    "another kind of saga": ("other-saga", of_another_kind, no_longer(f"exchanges/{VHOST}/{KIND}")),
    "a classic queue": (
        "queue-type",
        *queue(queue_type="classic", delivery_limit=None, dead_letter_strategy=None),
    ),
    "no delivery limit": ("delivery-limit", *queue(delivery_limit=None)),
    "a small delivery limit": ("delivery-limit", *queue(delivery_limit=2)),
    "dead letters go nowhere": ("dead-letter-exchange", *queue(dead_letter_exchange="amq.fanout")),
    "dead letters at most once": ("dead-letter-strategy", *queue(dead_letter_strategy="at-most-once")),
    "a full queue drops": ("overflow", *queue(overflow="drop-head", dead_letter_strategy="at-least-once")),
    "a queue is gone": ("queue-missing", no_longer(f"queues/{VHOST}/payments.dead"), House.declare),
    "a binding is gone": ("binding-missing", without_binding, House.declare),
    "the alternate exchange is gone": ("alternate-exchange", alternate_lost, exchange_anew),
    "dead letters' exchange is gone": (
        "exchange-missing",
        no_longer(f"exchanges/{VHOST}/ordersaga.dead"),
        House.declare,
    ),
    "a policy lets messages expire": ("queue-policy", policy, no_longer(f"policies/{VHOST}/short")),
    "messages expire": ("queue-argument", *queue(message_ttl=1000)),
    "an exchange goes with its queues": (
        "exchange-differs",
        exchange_that_goes_with_its_queues,
        exchange_anew,
    ),
    "a message reached no queue": ("messages-unrouted", *waits("ordersaga.unheard")),
    "dead letters wait": ("dead-letters-waiting", *waits("payments.dead")),
    "dead letters may be dropped": (
        "delivery-limit",
        lambda house: house.redeclare("payments.dead", delivery_limit=20),
        lambda house: house.heal_queue("payments.dead"),
    ),
    "a change of a queue was interrupted": (
        "queue-change-unfinished",
        interrupted_change,
        no_longer(f"queues/{VHOST}/inventory.changing"),
    ),
    "an administrator runs the pools": (
        "broker-user-too-strong",
        tagged("administrator"),
        tagged("management"),
    ),
}


@pytest.mark.parametrize("fault", IN_RABBITMQ)
def test_a_fault_in_rabbitmq_is_found_and_nothing_else(house: House, fault: str) -> None:
    code, plant, heal = IN_RABBITMQ[fault]
    plant(house)
    try:
        found = eventually(house.examined, 10, fault)
    finally:
        heal(house)
    if code == "exchange-missing":  # its bindings went with it
        assert codes(found) == {"exchange-missing", "binding-missing"}
    else:
        assert codes(found) == {code}, found
    eventually(lambda: not house.examined(), 10, "health")  # policies go slowly


def test_who_takes_messages_without_acknowledging_is_found(house: House) -> None:
    with Connection(house.settings.broker_url) as connection, connection.channel() as channel:
        channel.basic_consume("inventory", no_ack=True, callback=lambda _: None)
        [found] = eventually(house.examined, 10, "the consumer")
        assert (found.code, found.where) == ("consumer-without-ack", "queue inventory")
    eventually(lambda: not house.examined(), 10, "health")


def test_without_the_management_interface_it_asks_by_amqp(house: House) -> None:
    nowhere = "http://127.0.0.1:1"
    assert codes(house.examined(nowhere)) == {"management-away"}
    house.redeclare("inventory", delivery_limit=2)
    try:
        [first, *_] = house.examined(nowhere)
    finally:
        house.heal_queue("inventory")
    assert first.code == "topology-differs"
    assert "x-delivery-limit" in first.evidence


def test_the_house_is_healthy_again(house: House) -> None:
    eventually(lambda: not house.examined(), 10, "health")


# ----------------------------------------------------------------------------------------- faults in the
# embedded broker


@pytest.fixture(scope="module")
def embedded_broker(house: House) -> str:
    """A broker in PostgreSQL, furnished; its URL."""
    house.postgres.create_role("broker")
    house.postgres.create_database("doctors_broker", "broker")
    url = house.postgres.url("doctors_broker", "broker").replace("postgresql", "pgmq")
    with broker.connection(url) as connection:
        declare(connection, choreography())
    return url


UNHEARD_TABLE = table_name("ordersaga.unheard")
IN_PGMQ = {
    "messages-unrouted": f"""
        SELECT pgmq.send('{UNHEARD_TABLE}', '{{}}'); UPDATE pgmq.q_{UNHEARD_TABLE} SET enqueued_at = now() - interval '2 min'
    """,
    "queue-missing": "DELETE FROM ordersaga_broker.queue WHERE name = 'payments.dead'",
    "binding-missing": "DELETE FROM ordersaga_broker.binding WHERE key = 'signal.StockReserved'",
    "delivery-limit": "UPDATE ordersaga_broker.queue SET delivery_limit = NULL WHERE name = 'payments'",
    "dead-letter-exchange": "UPDATE ordersaga_broker.queue SET dead_exchange = NULL WHERE name = 'payments'",
    "alternate-exchange": "UPDATE ordersaga_broker.exchange SET alternate = NULL WHERE name = 'ordersaga'",
    "broker-other-version": "UPDATE ordersaga_broker.installed SET stamp = 'old'",
    "other-saga": f"UPDATE ordersaga_broker.exchange SET alternate = 'envelope' WHERE name = '{KIND}'",
    "synchronous-commit": "ALTER DATABASE doctors_broker SET synchronous_commit = off",
}


def test_nothing_is_found_in_a_healthy_embedded_broker(house: House, embedded_broker: str) -> None:
    assert house.examined(broker_url=embedded_broker) == []


@pytest.mark.parametrize("code", IN_PGMQ)
def test_a_fault_in_the_embedded_broker_is_found_and_nothing_else(
    house: House, embedded_broker: str, code: str
) -> None:
    with house.postgres.connect("doctors_broker") as cursor:
        cursor.execute(IN_PGMQ[code])
    try:
        assert codes(house.examined(broker_url=embedded_broker)) == {code}
    finally:
        with house.postgres.connect("doctors_broker") as cursor:
            cursor.execute("ALTER DATABASE doctors_broker RESET synchronous_commit")
            cursor.execute(f"DELETE FROM pgmq.q_{UNHEARD_TABLE}")
            cursor.execute("DELETE FROM ordersaga_broker.exchange WHERE name = %s", [KIND])
            cursor.execute("UPDATE ordersaga_broker.installed SET stamp = 'old'")
        with broker.connection(embedded_broker) as connection:
            declare(connection, choreography())


# ---------------------------------------------------------------------------------------------- faults in the
# settings


def test_servers_that_are_not_there_are_each_named(house: House) -> None:
    away = "postgresql://payments:private@127.0.0.1:1/payments"
    found = house.examined(payments_database_url=away, broker_url="amqp://pools:x@127.0.0.1:1/doctor")
    assert codes(found) == {"database-unreachable", "broker-unreachable"}


def test_a_broker_that_accepts_no_messages_is_named_with_its_alarm(house: House) -> None:
    with house.rabbitmq.alarm("disk"):
        [found] = house.examined()
        assert (found.code, found.level, found.evidence) == ("broker-alarm", "error", "low on disk")
    assert house.examined() == []


def test_a_broker_that_stops_answering_is_named_in_time(house: House, proxy: Callable[[int], Proxy]) -> None:
    between = proxy(house.rabbitmq.port)
    between.stall()
    began = time.monotonic()
    found = house.examined(broker_url=between.through(house.settings.broker_url))
    assert codes(found) == {"broker-unreachable"}
    assert time.monotonic() - began < scaled(30)


def test_a_broker_of_another_kind_is_named_without_its_password(house: House) -> None:
    [found] = house.examined(broker_url="redis://:secret@127.0.0.1")
    assert (found.code, found.evidence) == ("broker-unknown", "redis://…")


def test_a_wrong_password_of_the_broker_is_told_as_such(house: House) -> None:
    [found] = house.examined(broker_url=house.settings.broker_url.replace("a-secret", "another"))
    assert found.code == "broker-unreachable"
    assert "ACCESS_REFUSED" in found.evidence


def test_two_domains_in_one_database_are_found(house: House) -> None:
    found = house.examined(payments_database_url=house.databases.inventory)
    assert found[0].code in {"database-shared", "migrations-missing", "constraint-missing"}
    assert "database-shared" in codes(found)


def test_one_role_for_two_domains_is_found(house: House) -> None:
    url = house.databases.payments.replace("//payments:", "//inventory:")
    house.run("payments", "GRANT CONNECT ON DATABASE {payments} TO inventory")
    try:
        found = house.examined(payments_database_url=url)
    finally:
        house.run("payments", "REVOKE ALL ON DATABASE {payments} FROM inventory")
    assert codes(found) == {"role-shared", "tables-closed"}


def test_unsafe_defaults_in_production_are_found(house: House) -> None:
    [found] = house.examined(debug=True)
    assert (found.code, found.where) == ("unsafe-default", "ORDERSAGA_DEBUG")


def test_a_retention_shorter_than_what_may_come_back_is_found(house: House) -> None:
    assert codes(house.examined(retention=timedelta(days=7))) == {"retention-too-short"}
    assert house.examined(retention=timedelta(days=8)) == []


def test_a_host_whose_clock_is_wrong_is_found(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    true = time.time
    monkeypatch.setattr("webapp.ops.doctor.pg_settings.time.time", lambda: true() - 60)
    assert codes(house.examined()) == {"clock-apart"}


# -------------------------------------------------------------------------------------------------- record
# and report


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_recorded_guards_are_those_of_a_migrated_database(house: House, domain: str) -> None:
    """When this fails: ``python -m webapp.ops.doctor.schema_objects`` records them again."""
    with Patient(domain, getattr(house.databases, domain)) as patient:
        assert sorted(recorded(domain) - standing(patient)) == []
        new = standing(patient) - recorded(domain)
        assert (
            sorted(guard for guard in new if not guard.startswith("index ")) == []
        )  # lists may have indexes of their own


def test_the_report_names_what_was_found_and_what_to_do() -> None:
    finding = Finding(
        "fsync", "error", "PostgreSQL of orders", "a power cut may lose [it]", "fsync = off", "ALTER SYSTEM …"
    )
    written = StringIO()
    show([finding], Console(file=written, width=120))
    assert all(
        text in written.getvalue()
        for text in ("fsync", "may lose [it]", "ALTER SYSTEM …", "1 error, no warnings")
    )
    told = json.loads(as_json([finding]))
    assert (told["healthy"], told["errors"], told["findings"][0]["code"]) == (False, 1, "fsync")


def test_the_command_ends_with_1_when_something_is_wrong_and_2_when_it_cannot_look(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("webapp.ops.management.commands.doctor.settings", lambda: house.settings)
    call_command("doctor", "--rabbitmq-admin", house.management, "--json")
    assert json.loads(capsys.readouterr().out)["healthy"] is True
    house.run("orders", "ALTER DATABASE {orders} SET synchronous_commit = off")
    try:
        with pytest.raises(SystemExit) as ended:
            call_command("doctor", "--rabbitmq-admin", house.management)
    finally:
        house.run("orders", "ALTER DATABASE {orders} RESET synchronous_commit")
    assert ended.value.code == 1
    assert "synchronous-commit" in capsys.readouterr().out
    with pytest.raises(CommandError, match="begins with http") as refused:
        call_command("doctor", "--rabbitmq-admin", "mq.local")
    assert refused.value.returncode == 2
