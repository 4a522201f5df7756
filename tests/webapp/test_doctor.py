"""The doctor finds each fault in running servers, and nothing else."""

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
from tests.webapp.doctor_env import VHOST, DoctorEnvironment, healthy
from tests.webapp.doctor_faults import IN_POSTGRES, Fault
from webapp.ops import broker
from webapp.ops.doctor import Finding
from webapp.ops.doctor.database import Database
from webapp.ops.doctor.finding import findings_as_json, show_findings
from webapp.ops.doctor.schema_objects import load_recorded_objects, read_objects
from workers.choreography import choreography

DOMAINS = ("orders", "inventory", "payments")


@pytest.fixture(scope="module")
def doctor_env(
    postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ
) -> Iterator[DoctorEnvironment]:
    with healthy(postgres, database_templates, rabbitmq) as made:
        yield made


def codes(findings: list[Finding]) -> set[str]:
    return {finding.code for finding in findings}


def test_a_healthy_installation_has_no_finding(doctor_env: DoctorEnvironment) -> None:
    assert doctor_env.examine() == []


# -- faults in PostgreSQL --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", IN_POSTGRES, ids=lambda fault: f"{fault.code}: {fault.plant[0][:40]}")
def test_a_fault_in_postgresql_is_the_only_finding(doctor_env: DoctorEnvironment, fault: Fault) -> None:
    if fault.plant[0] == "DELETE FROM alembic_version":
        doctor_env.run(
            fault.owner, "CREATE TABLE kept_version AS SELECT version_num AS v FROM alembic_version"
        )
    doctor_env.run(fault.owner, *fault.plant)
    try:
        found = eventually(
            doctor_env.examine, 5, fault.code
        )  # the server needs a moment to reload its settings
    finally:
        doctor_env.run(fault.owner, *fault.heal)
    assert [(finding.code, finding.level) for finding in found] == [(fault.code, fault.level)], found
    assert found[0].remedy
    assert found[0].evidence


# -- faults in RabbitMQ ----------------------------------------------------------------------------------


def queue(
    **arguments: Any,
) -> tuple[Callable[[DoctorEnvironment], None], Callable[[DoctorEnvironment], None]]:
    """Declare the inventory's queue with other arguments."""
    return lambda doctor_env: doctor_env.redeclare(
        "inventory", **arguments
    ), lambda doctor_env: doctor_env.heal_queue("inventory")


def policy(doctor_env: DoctorEnvironment) -> None:
    doctor_env.request(
        "PUT",
        f"policies/{VHOST}/short",
        pattern="^inventory$",
        definition={"message-ttl": 1000},
        **{"apply-to": "queues"},
    )


def without_binding(doctor_env: DoctorEnvironment) -> None:
    doctor_env.request("DELETE", f"bindings/{VHOST}/e/ordersaga/q/payments/signal.StockReserved")


def alternate_lost(doctor_env: DoctorEnvironment) -> None:
    doctor_env.request("DELETE", f"exchanges/{VHOST}/ordersaga")
    doctor_env.request("PUT", f"exchanges/{VHOST}/ordersaga", type="topic", durable=True)
    rebind(doctor_env)


def rebind(doctor_env: DoctorEnvironment) -> None:
    with Connection(doctor_env.settings.broker_url) as connection, connection.channel() as channel:
        for each in queues(choreography()):
            for one in each.bindings:
                each(channel).bind_to(one.exchange.name, one.routing_key)


def exchange_anew(doctor_env: DoctorEnvironment) -> None:
    doctor_env.request("DELETE", f"exchanges/{VHOST}/ordersaga")
    doctor_env.declare()


def exchange_that_goes_with_its_queues(doctor_env: DoctorEnvironment) -> None:
    doctor_env.request("DELETE", f"exchanges/{VHOST}/ordersaga")
    doctor_env.request(
        "PUT", f"exchanges/{VHOST}/ordersaga", type="topic", durable=True, auto_delete=True,
        arguments={"alternate-exchange": "ordersaga.unheard"},
    )  # fmt: skip
    rebind(doctor_env)


def no_longer(path: str) -> Callable[[DoctorEnvironment], None]:
    return lambda doctor_env: doctor_env.request("DELETE", path)


def tagged(tags: str) -> Callable[[DoctorEnvironment], None]:
    return lambda doctor_env: doctor_env.request(
        "PUT", "users/pools", password="a-secret-of-its-own", tags=tags
    )


def leave_message(
    queue: str,
) -> tuple[Callable[[DoctorEnvironment], None], Callable[[DoctorEnvironment], None]]:
    """Leave a message in a queue without a consumer."""

    def plant(doctor_env: DoctorEnvironment) -> None:
        doctor_env.request(
            "POST", f"exchanges/{VHOST}/amq.default/publish",
            properties={"delivery_mode": 2}, routing_key=queue, payload="x", payload_encoding="string",
        )  # fmt: skip

    return plant, no_longer(f"queues/{VHOST}/{queue}/contents")


def interrupted_change(doctor_env: DoctorEnvironment) -> None:
    doctor_env.request(
        "PUT", f"queues/{VHOST}/inventory.changing", durable=True, arguments={"x-queue-type": "quorum"}
    )


def of_another_kind(doctor_env: DoctorEnvironment) -> None:
    doctor_env.request("DELETE", f"exchanges/{VHOST}/{KIND}")
    doctor_env.request(
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
    "a queue is gone": (
        "queue-missing",
        no_longer(f"queues/{VHOST}/payments.dead"),
        DoctorEnvironment.declare,
    ),
    "a binding is gone": ("binding-missing", without_binding, DoctorEnvironment.declare),
    "the alternate exchange is gone": ("alternate-exchange", alternate_lost, exchange_anew),
    "dead letters' exchange is gone": (
        "exchange-missing",
        no_longer(f"exchanges/{VHOST}/ordersaga.dead"),
        DoctorEnvironment.declare,
    ),
    "a policy lets messages expire": ("queue-policy", policy, no_longer(f"policies/{VHOST}/short")),
    "messages expire": ("queue-argument", *queue(message_ttl=1000)),
    "an exchange goes with its queues": (
        "exchange-differs",
        exchange_that_goes_with_its_queues,
        exchange_anew,
    ),
    "a message reached no queue": ("messages-unrouted", *leave_message("ordersaga.unheard")),
    "dead letters wait": ("dead-letters-waiting", *leave_message("payments.dead")),
    "dead letters may be dropped": (
        "delivery-limit",
        lambda doctor_env: doctor_env.redeclare("payments.dead", delivery_limit=20),
        lambda doctor_env: doctor_env.heal_queue("payments.dead"),
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
def test_a_fault_in_rabbitmq_is_the_only_finding(doctor_env: DoctorEnvironment, fault: str) -> None:
    code, plant, heal = IN_RABBITMQ[fault]
    plant(doctor_env)
    try:
        found = eventually(doctor_env.examine, 10, fault)
    finally:
        heal(doctor_env)
    if code == "exchange-missing":  # its bindings were deleted with it
        assert codes(found) == {"exchange-missing", "binding-missing"}
    else:
        assert codes(found) == {code}, found
    eventually(lambda: not doctor_env.examine(), 10, "health")  # policies take effect slowly


def test_a_consumer_without_acknowledgement_is_found(doctor_env: DoctorEnvironment) -> None:
    with Connection(doctor_env.settings.broker_url) as connection, connection.channel() as channel:
        channel.basic_consume("inventory", no_ack=True, callback=lambda _: None)
        [found] = eventually(doctor_env.examine, 10, "the consumer")
        assert (found.code, found.where) == ("consumer-without-ack", "queue inventory")
    eventually(lambda: not doctor_env.examine(), 10, "health")


def test_without_the_management_api_it_checks_by_amqp(doctor_env: DoctorEnvironment) -> None:
    nowhere = "http://127.0.0.1:1"
    assert codes(doctor_env.examine(nowhere)) == {"management-away"}
    doctor_env.redeclare("inventory", delivery_limit=2)
    try:
        [first, *_] = doctor_env.examine(nowhere)
    finally:
        doctor_env.heal_queue("inventory")
    assert first.code == "topology-differs"
    assert "x-delivery-limit" in first.evidence


def test_the_installation_is_healthy_again(doctor_env: DoctorEnvironment) -> None:
    eventually(lambda: not doctor_env.examine(), 10, "health")


# -- faults in the embedded broker -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded_broker(doctor_env: DoctorEnvironment) -> str:
    """The URL of a broker in PostgreSQL with all queues."""
    doctor_env.postgres.create_role("broker")
    doctor_env.postgres.create_database("doctors_broker", "broker")
    url = doctor_env.postgres.url("doctors_broker", "broker").replace("postgresql", "pgmq")
    with broker.open_connection(url) as connection:
        declare(connection, choreography())
    return url


UNHEARD_TABLE = table_name("ordersaga.unheard")
IN_PGMQ = {
    "messages-unrouted": f"""
        SELECT pgmq.send('{UNHEARD_TABLE}', '{{}}');
        UPDATE pgmq.q_{UNHEARD_TABLE} SET enqueued_at = now() - interval '2 min'
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


def test_a_healthy_embedded_broker_has_no_finding(
    doctor_env: DoctorEnvironment, embedded_broker: str
) -> None:
    assert doctor_env.examine(broker_url=embedded_broker) == []


@pytest.mark.parametrize("code", IN_PGMQ)
def test_a_fault_in_the_embedded_broker_is_the_only_finding(
    doctor_env: DoctorEnvironment, embedded_broker: str, code: str
) -> None:
    with doctor_env.postgres.connect("doctors_broker") as cursor:
        cursor.execute(IN_PGMQ[code])
    try:
        assert codes(doctor_env.examine(broker_url=embedded_broker)) == {code}
    finally:
        with doctor_env.postgres.connect("doctors_broker") as cursor:
            cursor.execute("ALTER DATABASE doctors_broker RESET synchronous_commit")
            cursor.execute(f"DELETE FROM pgmq.q_{UNHEARD_TABLE}")
            cursor.execute("DELETE FROM ordersaga_broker.exchange WHERE name = %s", [KIND])
            cursor.execute("UPDATE ordersaga_broker.installed SET stamp = 'old'")
        with broker.open_connection(embedded_broker) as connection:
            declare(connection, choreography())


# -- faults in the settings ------------------------------------------------------------------------------


def test_each_missing_server_is_named(doctor_env: DoctorEnvironment) -> None:
    away = "postgresql://payments:private@127.0.0.1:1/payments"
    found = doctor_env.examine(payments_database_url=away, broker_url="amqp://pools:x@127.0.0.1:1/doctor")
    assert codes(found) == {"database-unreachable", "broker-unreachable"}


def test_a_blocked_broker_is_named_with_its_alarm(doctor_env: DoctorEnvironment) -> None:
    with doctor_env.rabbitmq.alarm("disk"):
        [found] = doctor_env.examine()
        assert (found.code, found.level, found.evidence) == ("broker-alarm", "error", "low on disk")
    assert doctor_env.examine() == []


def test_a_broker_that_stops_answering_is_named_in_time(
    doctor_env: DoctorEnvironment, proxy: Callable[[int], Proxy]
) -> None:
    between = proxy(doctor_env.rabbitmq.port)
    between.stall()
    began = time.monotonic()
    found = doctor_env.examine(broker_url=between.through(doctor_env.settings.broker_url))
    assert codes(found) == {"broker-unreachable"}
    assert time.monotonic() - began < scaled(30)


def test_an_unsupported_broker_is_named_without_its_password(doctor_env: DoctorEnvironment) -> None:
    [found] = doctor_env.examine(broker_url="redis://:secret@127.0.0.1")
    assert (found.code, found.evidence) == ("broker-unknown", "redis://…")


def test_a_wrong_broker_password_is_reported_as_such(doctor_env: DoctorEnvironment) -> None:
    [found] = doctor_env.examine(broker_url=doctor_env.settings.broker_url.replace("a-secret", "another"))
    assert found.code == "broker-unreachable"
    assert "ACCESS_REFUSED" in found.evidence


def test_two_domains_in_one_database_are_found(doctor_env: DoctorEnvironment) -> None:
    found = doctor_env.examine(payments_database_url=doctor_env.databases.inventory)
    assert found[0].code in {"database-shared", "migrations-missing", "constraint-missing"}
    assert "database-shared" in codes(found)


def test_one_role_for_two_domains_is_found(doctor_env: DoctorEnvironment) -> None:
    url = doctor_env.databases.payments.replace("//payments:", "//inventory:")
    doctor_env.run("payments", "GRANT CONNECT ON DATABASE {payments} TO inventory")
    try:
        found = doctor_env.examine(payments_database_url=url)
    finally:
        doctor_env.run("payments", "REVOKE ALL ON DATABASE {payments} FROM inventory")
    assert codes(found) == {"role-shared", "tables-closed"}


def test_unsafe_defaults_in_production_are_found(doctor_env: DoctorEnvironment) -> None:
    [found] = doctor_env.examine(debug=True)
    assert (found.code, found.where) == ("unsafe-default", "ORDERSAGA_DEBUG")


def test_a_retention_shorter_than_what_may_come_back_is_found(doctor_env: DoctorEnvironment) -> None:
    assert codes(doctor_env.examine(retention=timedelta(days=7))) == {"retention-too-short"}
    assert doctor_env.examine(retention=timedelta(days=8)) == []


def test_a_wrong_host_clock_is_found(doctor_env: DoctorEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    true = time.time
    monkeypatch.setattr("webapp.ops.doctor.pg_settings.time.time", lambda: true() - 60)
    assert codes(doctor_env.examine()) == {"clock-apart"}


# -- record and report -----------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_recorded_guards_are_those_of_a_migrated_database(
    doctor_env: DoctorEnvironment, domain: str
) -> None:
    """If this fails, ``python -m webapp.ops.doctor.schema_objects`` records the objects again."""
    with Database(domain, getattr(doctor_env.databases, domain)) as patient:
        assert sorted(load_recorded_objects(domain) - read_objects(patient)) == []
        new = read_objects(patient) - load_recorded_objects(domain)
        assert (
            sorted(guard for guard in new if not guard.startswith("index ")) == []
        )  # lists may have additional indexes


def test_the_report_names_each_finding_and_its_remedy() -> None:
    finding = Finding(
        "fsync", "error", "PostgreSQL of orders", "a power cut may lose [it]", "fsync = off", "ALTER SYSTEM …"
    )
    written = StringIO()
    show_findings([finding], Console(file=written, width=120))
    assert all(
        text in written.getvalue()
        for text in ("fsync", "may lose [it]", "ALTER SYSTEM …", "1 error, no warnings")
    )
    result = json.loads(findings_as_json([finding]))
    assert (result["healthy"], result["errors"], result["findings"][0]["code"]) == (False, 1, "fsync")


def test_the_exit_status_is_1_for_findings_and_2_if_it_cannot_check(
    doctor_env: DoctorEnvironment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("webapp.ops.management.commands.doctor.settings", lambda: doctor_env.settings)
    call_command("doctor", "--no-pools", "--rabbitmq-admin", doctor_env.management, "--json")
    assert json.loads(capsys.readouterr().out)["healthy"] is True
    doctor_env.run("orders", "ALTER DATABASE {orders} SET synchronous_commit = off")
    try:
        with pytest.raises(SystemExit) as ended:
            call_command("doctor", "--rabbitmq-admin", doctor_env.management)
    finally:
        doctor_env.run("orders", "ALTER DATABASE {orders} RESET synchronous_commit")
    assert ended.value.code == 1
    assert "synchronous-commit" in capsys.readouterr().out
    with pytest.raises(CommandError, match="must begin with http") as refused:
        call_command("doctor", "--rabbitmq-admin", "mq.local")
    assert refused.value.returncode == 2
