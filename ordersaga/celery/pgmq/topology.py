"""Declare exchanges, queues and bindings in tables that every process reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from amqp.protocol import queue_declare_ok_t
from kombu.exceptions import ChannelError
from kombu.transport import pgmq as upstream
from kombu.transport.base import to_rabbitmq_queue_arguments

from ordersaga.celery.pgmq.connection import DatabaseConnection
from ordersaga.celery.pgmq.names import table_name, topic_regex

Arguments = Mapping[str, Any] | None
KINDS = ("direct", "topic", "fanout")


class Topology(upstream.Channel):
    """The declarations of a channel.

    A declaration without arguments keeps the stored ones. One with arguments replaces those of a queue, so
    that a changed limit takes effect at once (RabbitMQ would refuse it); those of an exchange are kept.

    Upstream: only the connection that declared a direct exchange knows it, and messages published elsewhere
    are lost. Alternate exchanges, delivery limits and dead-letter arguments are ignored. Queues that should
    end with their consumer are kept, and Flower's collect events without limit.
    """

    @property
    def database(self) -> DatabaseConnection:
        """The connection for statements.

        :raises ChannelError: the channel is closed.
        """
        if self.connection is None:
            raise ChannelError("CHANNEL_ERROR - the channel is closed", (20, 40), "Channel", "504")
        database: DatabaseConnection = self.connection.database
        return database

    def canonical_queue_name(self, queue_name: str) -> str:
        return table_name(self.queue_name_prefix + queue_name)

    def prepare_queue_arguments(self, arguments: Arguments, **options: Any) -> dict[str, Any]:
        return dict(to_rabbitmq_queue_arguments(arguments or {}, **options))

    # -- exchanges

    def exchange_declare(
        self,
        exchange: str | None = None,
        type: str = "direct",  # noqa: A002 - kombu's name
        durable: bool = False,
        auto_delete: bool = False,
        arguments: Arguments = None,
        nowait: bool = False,
        passive: bool = False,
    ) -> None:
        kind = type or "direct"
        name = exchange or f"amq.{kind}"
        if passive:
            if not self.database.rows("SELECT 1 FROM ordersaga_broker.exchange WHERE name = %s", name):
                raise not_found("exchange", name)
            return
        if kind not in KINDS:
            raise ChannelError(
                f"COMMAND_INVALID - no exchange kind {kind!r} here", (40, 10), "exchange_declare", "503"
            )
        differs = self.database.one(
            "SELECT ordersaga_broker.declare_exchange(%s, %s, %s, %s)",
            name,
            kind,
            bool(arguments),
            (arguments or {}).get("alternate-exchange"),
        )
        if differs:
            what, current, wanted = differs
            text = (
                f"PRECONDITION_FAILED - inequivalent arg '{what}' for exchange '{name}': "
                f"received the value '{wanted}' but current is the value '{current}'"
            )
            raise ChannelError(text, (40, 10), "Channel.exchange_declare", "406")

    def exchange_delete(self, exchange: str, if_unused: bool = False, nowait: bool = False) -> None:
        self.database.rows("DELETE FROM ordersaga_broker.exchange WHERE name = %s RETURNING 1", exchange)

    # -- queues

    def queue_declare(
        self,
        queue: str | None = None,
        passive: bool = False,
        auto_delete: bool = False,
        arguments: Arguments = None,
        **_: Any,
    ) -> Any:
        name = queue or f"amq.gen-{uuid4()}"
        if not passive:
            given = arguments or {}
            self.database.rows(
                "SELECT ordersaga_broker.declare_queue(%s, %s, %s, %s, %s, %s, %s)",
                name,
                self.canonical_queue_name(name),
                auto_delete or "x-expires" in given,
                bool(given),
                given.get("x-delivery-limit"),
                given.get("x-dead-letter-exchange"),
                given.get("x-dead-letter-routing-key"),
            )
        elif not self._has_queue(name):
            raise not_found("queue", name)
        return queue_declare_ok_t(name, self._size(name), 0)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **_: Any) -> None:
        if if_empty and self._has_queue(queue) and self._size(queue):
            return
        if if_unused:
            self.database.rows("SELECT ordersaga_broker.drop_unused(%s)", queue)
        else:
            self.database.rows("SELECT ordersaga_broker.drop_queue(%s)", queue)

    def queue_bind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", *_: Any, **__: Any
    ) -> None:
        if not exchange:
            return  # every queue is bound to the default exchange by its name
        key = routing_key or ""
        if not self.database.one(
            "SELECT ordersaga_broker.bind(%s, %s, %s, %s)", exchange, queue, key, topic_regex(key)
        ):
            raise not_found("exchange", exchange)

    def queue_unbind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", *_: Any, **__: Any
    ) -> None:
        self.database.rows(
            "DELETE FROM ordersaga_broker.binding WHERE (exchange, queue, key) = (%s, %s, %s) RETURNING 1",
            exchange or "",
            queue,
            routing_key or "",
        )

    def list_bindings(self) -> list[tuple[str, str, str]]:
        rows = self.database.rows(
            "SELECT queue, exchange, key FROM ordersaga_broker.binding ORDER BY 1, 2, 3"
        )
        return [(queue, exchange, key) for queue, exchange, key in rows]

    def _has_queue(self, queue: str, **_: Any) -> bool:
        return bool(self.database.rows("SELECT 1 FROM ordersaga_broker.queue WHERE name = %s", queue))

    def _size(self, queue: str) -> int:
        size: int = self.database.one(
            "SELECT queue_length FROM pgmq.metrics(%s)", self.canonical_queue_name(queue)
        )
        return size

    def _purge(self, queue: str) -> int:
        purged: int = self.database.one("SELECT pgmq.purge_queue(%s)", self.canonical_queue_name(queue))
        return purged


def not_found(what: str, name: str) -> ChannelError:
    return ChannelError(f"NOT_FOUND - no {what} {name!r}", (50, 10), "Channel", "404")
