"""The two connections of a transport: one for statements, and a notifier that wakes the consumer."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from ordersaga.celery.pgmq.schema import ensure_schema

Row = tuple[Any, ...]
NOTIFICATION = "notification"


class DatabaseConnection:
    """One connection in autocommit for statements; a lock serializes threads.

    It is opened at the first use, after a loss (which raises in the current call) and after a fork.

    Upstream: a pool of up to ten connections with four threads, which do not survive a fork.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._connection: psycopg.Connection[Any] | None = None
        self._owner = 0
        self._lock = threading.RLock()

    def rows(self, statement: LiteralString, *values: object) -> list[Row]:
        """Run one statement and return its rows.

        :raises psycopg.OperationalError: when the database is not available.
        """
        with self._lock:
            connection = self._ready()
            try:
                return connection.execute(statement, values).fetchall()
            except (psycopg.OperationalError, psycopg.InterfaceError):
                self.close()
                raise

    def one(self, statement: LiteralString, *values: object) -> Any:
        """Run one statement and return the only column of its only row."""
        return self.rows(statement, *values)[0][0]

    @property
    def usable(self) -> bool:
        """Whether the connection is open, without a query."""
        return self._connection is not None and self._owner == os.getpid() and not self._connection.closed

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._owner == os.getpid():
                connection.close()

    def _ready(self) -> psycopg.Connection[Any]:
        if self._connection is None or not self.usable:
            connection = self._connect()
            try:
                ensure_schema(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._owner = connection, os.getpid()
        return self._connection


class Notifier:
    """Wakes the consumer when one of its queues receives a message or a thread acknowledges one.

    While it listens to a queue it holds the queue's consumer lock, so that the queue is not dropped.

    Upstream: a message that follows another within a quarter of a second wakes no consumer, nor does an
    acknowledgement while the prefetch is used up: both wait for the next poll. Each process re-creates the
    triggers at its start, which locks the queue; here the publishing function notifies.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._connection: psycopg.Connection[Any] | None = None
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)

    def listen(self, queue: str, table: str) -> None:
        if self._connection is None:
            self._connection = self._connect()
            self._selector.register(self._connection.fileno(), selectors.EVENT_READ, NOTIFICATION)
        self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(f"broker.{table}")))
        self._connection.execute("SELECT pg_advisory_lock_shared(ordersaga_broker.consumer_key(%s))", [queue])

    def ignore(self, queue: str, table: str) -> None:
        if self._connection is not None and not self._connection.closed:
            self._connection.execute(sql.SQL("UNLISTEN {}").format(sql.Identifier(f"broker.{table}")))
            self._connection.execute(
                "SELECT pg_advisory_unlock_shared(ordersaga_broker.consumer_key(%s))", [queue]
            )

    def wake(self) -> None:
        """Wake the consumer, from any thread."""
        try:
            self._wake_sender.send(b".")
        except OSError:
            return  # a notification is pending, or the transport is closed

    def wait(self, timeout: float) -> None:
        """Wait for a notification, at most ``timeout`` seconds.

        :raises psycopg.OperationalError: when the connection is lost; the consumer must restart.
        """
        for key, _ in self._selector.select(timeout):
            if key.data == NOTIFICATION and self._connection is not None:
                self._connection.pgconn.consume_input()
                while self._connection.pgconn.notifies():
                    pass
            else:
                self._discard_wakeups()

    def close(self) -> None:
        self._selector.close()
        self._wake_receiver.close()
        self._wake_sender.close()
        if self._connection is not None:
            self._connection.close()

    def _discard_wakeups(self) -> None:
        try:
            while self._wake_receiver.recv(4096):
                pass
        except BlockingIOError:
            return
