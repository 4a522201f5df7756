"""Worker names, and bootsteps that write the heartbeat of a pool's process."""

from __future__ import annotations

import os
import socket
from typing import Any

from celery import bootsteps
from celery.apps.worker import Worker
from celery.concurrency import solo
from celery.utils.log import get_logger
from celery.utils.nodenames import default_nodename, host_format
from celery.worker import state

from ordersaga.heartbeat import EVERY, Heartbeat
from ordersaga.log import LogEvent, safe_message

logger = get_logger(__name__)

CONSUMER, RELAY = "consumer", "relay"
"""The parts of a process that must make regular rounds."""


class NamedWorker(Worker):
    """A worker named ``inventory-4711@host`` by its participant and process id, unless ``-n`` is given.

    Two workers of the same name on a host would answer each other's remote-control requests.
    """

    def __init__(self, app: Any = None, hostname: str | None = None, **options: Any) -> None:
        if hostname in (None, host_format(default_nodename(None))):  # Celery's default
            hostname = f"{self.app.ordersaga.participant.name}-{os.getpid()}@{socket.gethostname()}"
        super().__init__(app, hostname, **options)


class HeartbeatStep(bootsteps.StartStopStep):
    """Writes the heartbeat of the process; see :mod:`ordersaga.heartbeat`."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, **_: Any) -> None:
        self._heartbeat: Heartbeat | None = None

    def start(self, worker: Any) -> None:
        """Start to write; if that fails, log a warning and work without a heartbeat."""
        worker_context = worker.app.ordersaga
        heartbeat = Heartbeat(
            worker_context.run_dir, worker_context.participant.name, worker.hostname, (CONSUMER, RELAY)
        )
        if isinstance(worker.pool, solo.TaskPool):  # its only thread cannot report while it works
            heartbeat.occupied = lambda: (CONSUMER,) if state.active_requests else ()
        heartbeat.conditions = worker_context.conditions.read
        try:
            heartbeat.start()
        except OSError as error:
            sentence = "The heartbeat file cannot be written; health checks do not find this process."
            logger.warning(LogEvent("heartbeat_not_written", sentence, error=safe_message(error)))
            return
        worker_context.heartbeat = self._heartbeat = heartbeat

    def stop(self, worker: Any) -> None:
        if self._heartbeat is not None:
            worker.app.ordersaga.heartbeat = None
            self._heartbeat.stop()
            self._heartbeat = None

    terminate = stop


class ConsumerHeartbeatStep(bootsteps.StartStopStep):
    """Reports the consumer as alive while it is connected, in pools with an event loop.

    In pools without one, :class:`ordersaga.celery.consumer.Consumer` reports it.
    """

    requires = {"celery.worker.consumer.tasks:Tasks"}

    def __init__(self, consumer: Any, **_: Any) -> None:
        self._entry: Any = None

    def start(self, consumer: Any) -> None:
        """Report now, and then periodically, that the consumer is connected."""
        worker_context = consumer.app.ordersaga
        worker_context.report_alive(CONSUMER)
        if consumer.hub is not None:
            self._entry = consumer.timer.call_repeatedly(EVERY, worker_context.report_alive, (CONSUMER,))

    def stop(self, consumer: Any) -> None:
        """Report that the connection is lost, or that the process stops."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None
        consumer.app.ordersaga.report_unavailable(CONSUMER)
