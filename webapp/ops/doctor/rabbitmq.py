"""Checks of RabbitMQ: exchanges, queues with their arguments, bindings, consumers, permissions."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp
from kombu import Connection

from ordersaga.celery.queue_change import QueueChange, temporary_name
from ordersaga.celery.topology import DEAD, KIND, SIGNALS, UNHEARD, bindings_of, declare_kind, queues
from ordersaga.choreography import Choreography
from ordersaga.errors import OtherSaga
from ordersaga.log import safe_message
from webapp.ops import broker
from webapp.ops.broker import Management, ManagementError, vhost_of
from webapp.ops.doctor.finding import Finding, error, warning
from webapp.ops.doctor.queues import (
    check_unconsumed,
    format_bindings,
    is_dead_letter_queue,
    other_saga_finding,
)

MIN_VERSION = (3, 10)
"""The first version that dead-letters from quorum queues without loss."""
DECLARE = "Run manage.py provision, or start any pool: both declare what is missing"
CHANGE = "Run manage.py provision --change-queues: it keeps the messages, and the pools may run"
EXCESSIVE_TAGS = ("administrator", "policymaker")
ARGUMENTS = (
    "x-queue-type",
    "x-delivery-limit",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-overflow",
    "x-max-length-bytes",
)
PLACEMENT_ARGUMENTS = {"x-queue-leader-locator", "x-quorum-initial-group-size", "x-quorum-target-group-size"}
"""Arguments that decide on which nodes a queue is placed; they do not affect its messages."""
HARMLESS_POLICIES = {"ha-mode", "ha-sync-mode", "queue-leader-locator", "target-group-size", "queue-version"}
"""Keys of policies that do not affect messages."""


class RabbitMQ:
    """One virtual host, seen by the pools' user."""

    def __init__(
        self, url: str, choreography: Choreography, management: str = "", *, production: bool = False
    ) -> None:
        """:param management: the address of the management interface; by default port 15672 of the broker's
        host.
        """
        self.url, self.choreography, self.production = url, choreography, production
        self.vhost = vhost_of(url)
        self.where = f"virtual host {self.vhost}"
        self._own_name = f"OrderSaga queue change {uuid.uuid4()}"
        parts = urlsplit(url.split(";", maxsplit=1)[0])
        self.user = unquote(parts.username or "guest")
        self.management = Management.beside(url, management)

    def examine(self) -> Iterator[Finding]:
        """Run all checks."""
        with broker.open_connection(self.url) as connection:
            try:
                connection.connect()
                version = connection.connection.server_properties.get("version", "")
                yield from self._check_alarm()
                yield from self._check_version(tuple(int(n) for n in version.split(".")[:2] if n.isdigit()))
                yield from self._check_topology(connection)
            except (*connection.connection_errors, *connection.channel_errors) as fault:
                yield self._unreachable(fault)

    def _check_topology(self, connection: Connection) -> Iterator[Finding]:
        try:
            yield from self._check_by_management()
        except ManagementError as fault:
            yield warning(
                "management-away",
                self.where,
                "bindings and policies cannot be checked",
                str(fault),
                "Enable the plugin (rabbitmq-plugins enable rabbitmq_management), give the user the tag "
                "management, "
                "or give the address: --rabbitmq-admin http://user:password@host:15672",
            )
            yield from self._check_by_amqp(connection)

    def _check_alarm(self) -> Iterator[Finding]:
        """Check for an alarm on a separate connection, because a blocked connection is not read."""
        if reason := broker.why_blocked_at(self.url):
            yield error(
                "broker-alarm",
                self.where,
                "the broker accepts no messages, so orders wait in the outboxes",
                reason,
                "Free memory or disk space on its host, or raise the limit; see rabbitmq-diagnostics alarms",
            )

    def _check_version(self, version: tuple[int, ...]) -> Iterator[Finding]:
        shown = ".".join(map(str, version)) or "unknown"
        if version < MIN_VERSION:
            yield error("broker-too-old", self.where, "RabbitMQ 3.10 or newer is needed", shown, "Upgrade it")

    def _unreachable(self, fault: Exception) -> Finding:
        remedy = (
            "Start RabbitMQ, correct ORDERSAGA_BROKER_URL, or create user and virtual host: manage.py "
            "provision"
        )
        return error("broker-unreachable", "broker", "it cannot be reached", safe_message(fault), remedy)

    # -- with the management interface -------------------------------------------------------------------

    def _check_by_management(self) -> Iterator[Finding]:
        found = {q["name"]: q for q in self.management.get("queues", self.vhost) or []}
        bound = self.management.get("bindings", self.vhost) or []
        exchanges = {e["name"]: e for e in self.management.get("exchanges", self.vhost) or []}
        consumers = self.management.get("consumers", self.vhost) or []
        tags = self.management.get("whoami").get("tags", [])
        for exchange in (UNHEARD, SIGNALS, DEAD):
            yield from self._check_exchange(exchange, exchanges.get(exchange.name))
        yield from self._check_saga_kind(exchanges.get(KIND))
        for queue in queues(self.choreography):
            if queue.name not in found:
                yield error(
                    "queue-missing", f"queue {queue.name}", "there is no such queue", "not found", DECLARE
                )
                continue
            yield from self._check_queue(queue, found[queue.name])
            yield from self._check_bindings(
                queue, [b for b in bound if b["destination"] == queue.name and b["source"]]
            )
            taken_by = [c for c in consumers if c["queue"]["name"] == queue.name]
            yield from self._check_consumers(queue, taken_by)
            if is_dead_letter_queue(queue.name) and not taken_by:
                yield from check_unconsumed(queue.name, found[queue.name].get("messages", 0))
            if (name := temporary_name(queue.name)) in found:
                evidence = f"{name} holds {found[name].get('messages', 0)} messages"
                yield error(
                    "queue-change-unfinished",
                    f"queue {queue.name}",
                    "a change of its arguments was interrupted",
                    evidence,
                    CHANGE,
                )
        yield from self._check_user(tags if isinstance(tags, list) else tags.split(","))

    def _check_saga_kind(self, found: dict[str, Any] | None) -> Iterator[Finding]:
        """Check that the virtual host is not used by another kind of saga."""
        other = found and found["arguments"].get("alternate-exchange")
        if other and other != self.choreography.saga.name:
            yield other_saga_finding(OtherSaga(self.choreography.saga.name, other))

    def _check_exchange(self, wanted: Any, found: dict[str, Any] | None) -> Iterator[Finding]:
        where = f"exchange {wanted.name}"
        if found is None:
            yield error("exchange-missing", where, "there is no such exchange", "not found", DECLARE)
            return
        redeclare = "Stop the pools, delete the exchange, and start the pools: they declare it again"
        wrong = {
            "not durable": not found["durable"],
            "auto-delete": found["auto_delete"],
            "internal": found["internal"],
        }
        marks = [word for word, is_so in wrong.items() if is_so]
        if marks or found["type"] != wanted.type:
            evidence = ", ".join([found["type"], *marks])
            yield error(
                "exchange-differs", where, f"a durable {wanted.type} exchange is needed", evidence, redeclare
            )
        needed = (wanted.arguments or {}).get("alternate-exchange")
        if found["arguments"].get("alternate-exchange") != needed:
            evidence = f"alternate-exchange = {found['arguments'].get('alternate-exchange')}"
            yield error(
                "alternate-exchange", where, "signals without a consumer are lost", evidence, redeclare
            )

    def _check_queue(self, wanted: Any, found: dict[str, Any]) -> Iterator[Finding]:
        where = f"queue {wanted.name}"
        needed = wanted.queue_arguments or {}
        for name in ARGUMENTS:
            if found["arguments"].get(name) != needed.get(name):
                evidence = f"{name} = {found['arguments'].get(name)}, not {needed.get(name)}"
                code = "queue-type" if name == "x-queue-type" else name.removeprefix("x-")
                yield error(
                    code, where, "messages may be lost or redelivered without limit", evidence, CHANGE
                )
                if name == "x-queue-type":
                    break  # the other arguments are those of its type
        else:
            for name in sorted(found["arguments"].keys() - {*ARGUMENTS, *PLACEMENT_ARGUMENTS}):
                evidence = f"{name} = {found['arguments'][name]}, which no pool declares"
                yield error("queue-argument", where, "the argument affects its messages", evidence, CHANGE)
        if not found["durable"]:
            yield error(
                "queue-not-durable", where, "a restart of the broker loses it", "durable = false", CHANGE
            )
        ruled = {
            k: v
            for k, v in (found.get("effective_policy_definition") or {}).items()
            if k not in HARMLESS_POLICIES
        }
        if ruled:
            names = " ".join(n for n in (found.get("policy"), found.get("operator_policy")) if n)
            yield error(
                "queue-policy",
                where,
                "a policy affects its messages",
                f"{names}: {', '.join(f'{k} = {v}' for k, v in sorted(ruled.items()))}",
                f"rabbitmqctl clear_policy -p {self.vhost} {found.get('policy') or '…'}, or narrow its "
                f"pattern",
            )

    def _check_bindings(self, wanted: Any, found: list[dict[str, Any]]) -> Iterator[Finding]:
        where = f"queue {wanted.name}"
        needed = bindings_of(wanted)
        there = {(b["source"], b["routing_key"]) for b in found}
        if missing := sorted(needed - there):
            yield error(
                "binding-missing",
                where,
                "it does not receive all signals that its participant consumes",
                format_bindings(missing),
                DECLARE,
            )
        if strange := sorted(there - needed):
            yield warning(
                "binding-unknown",
                where,
                "it receives signals that its participant does not consume, and dead-letters them",
                format_bindings(strange),
                "Remove the binding once no older pool runs",
            )

    def _check_consumers(self, wanted: Any, found: list[dict[str, Any]]) -> Iterator[Finding]:
        if hasty := sorted(_connection_of(c) or c["consumer_tag"] for c in found if not c["ack_required"]):
            yield error(
                "consumer-without-ack", f"queue {wanted.name}", "its messages are lost when it ends",
                ", ".join(hasty), "Close that connection: it does not belong to a pool",
            )  # fmt: skip

    def _check_user(self, tags: list[str]) -> Iterator[Finding]:
        if strong := [tag for tag in tags if tag in EXCESSIVE_TAGS]:
            say = error if self.production else warning
            yield say(
                "broker-user-too-strong",
                f"user {self.user}",
                "a fault in a pool could affect the whole broker",
                ", ".join(strong),
                f"rabbitmqctl set_user_tags {self.user} management, or manage.py provision",
            )

    def queue_changes(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield each queue that differs or whose change was interrupted, and a function that changes it.

        :raises ManagementError: when the management interface does not answer.
        """
        found = {q["name"]: q for q in self.management.get("queues", self.vhost) or []}
        for queue in queues(self.choreography):
            if queue.name not in found:
                continue
            wrong = [
                f.evidence for f in self._check_queue(queue, found[queue.name]) if f.code != "queue-policy"
            ]
            if wrong or temporary_name(queue.name) in found:
                what = "; ".join(wrong) or f"{temporary_name(queue.name)} remains from an earlier change"
                yield f"queue {queue.name} ({what})", partial(self._change, queue)

    def _change(self, queue: Any) -> None:
        with broker.open_connection(self.url) as connection:
            options = {"confirm_publish": True, "client_properties": {"connection_name": self._own_name}}
            connection.transport_options = {**(connection.transport_options or {}), **options}
            QueueChange(connection, queue, self).run()

    def bindings(self, queue: str) -> list[tuple[str, str]]:
        """Return exchange and key of each binding of a queue."""
        found = self.management.get("bindings", self.vhost) or []
        return [(b["source"], b["routing_key"]) for b in found if b["destination"] == queue]

    def messages(self, queue: str) -> int | None:
        """Return how many messages a queue holds; None while it is not reported."""
        counted: int | None = (self.management.get("queues", self.vhost, queue) or {}).get("messages")
        return counted

    def consuming(self, queue: str) -> list[str]:
        """Return the reported connections that consume a queue."""
        found = self.management.get("consumers", self.vhost) or []
        return [name for each in found if each["queue"]["name"] == queue and (name := _connection_of(each))]

    def connections(self) -> list[str]:
        """Return all connections of the virtual host except the one that changes a queue."""
        found = self.management.get("vhosts", self.vhost, "connections") or []
        return [each["name"] for each in found if each.get("user_provided_name") != self._own_name]

    def disconnect(self, connection: str) -> None:

        self.management.delete("connections", connection)

    # -- without it --------------------------------------------------------------------------------------

    def _check_by_amqp(self, connection: Connection) -> Iterator[Finding]:
        """Declare passively to find what is missing; then declare, which fails if arguments differ."""
        missing = False
        try:
            declare_kind(connection, self.choreography)
        except OtherSaga as refused:
            yield other_saga_finding(refused)
        for exchange in (UNHEARD, SIGNALS, DEAD):
            if not _exists(connection, lambda channel, e=exchange: e(channel).declare(passive=True)):
                missing = True
                yield error(
                    "exchange-missing",
                    f"exchange {exchange.name}",
                    "there is no such exchange",
                    "not found",
                    DECLARE,
                )
        for queue in queues(self.choreography):
            if not _exists(connection, lambda channel, q=queue: q(channel).queue_declare(passive=True)):
                missing = True
                yield error(
                    "queue-missing", f"queue {queue.name}", "there is no such queue", "not found", DECLARE
                )
        if not missing:
            for queue in queues(self.choreography):
                yield from self._check_declaration(connection, queue)

    def _check_declaration(self, connection: Connection, queue: Any) -> Iterator[Finding]:
        """Check whether the broker accepts the declaration of an existing queue."""
        try:
            with connection.channel() as channel:
                queue(channel).queue_declare()
        except amqp.PreconditionFailed as refused:
            yield error(
                "topology-differs",
                f"queue {queue.name}",
                "it has other arguments",
                refused.reply_text,
                CHANGE,
            )


def _connection_of(consumer: dict[str, Any]) -> str:
    """Return the connection's name, or "" for a channel that is not reported yet (a list then)."""
    details = consumer["channel_details"]
    return str(details.get("connection_name", "")) if isinstance(details, dict) else ""


def _exists(connection: Connection, ask: Any) -> bool:
    try:
        with connection.channel() as channel:
            ask(channel)
    except amqp.NotFound:
        return False
    return True
