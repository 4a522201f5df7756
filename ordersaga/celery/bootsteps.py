"""Celery bootsteps of every pool: relay, background messages, visibility timeout and shutdown flag."""

from __future__ import annotations

import mmap
import threading
import time
from functools import partial
from typing import Any

from celery import bootsteps, signals
from celery.utils.log import get_logger

from ordersaga.celery.publisher import Publisher
from ordersaga.celery.rabbitmq_transport import alarm
from ordersaga.celery.worker import RELAY
from ordersaga.classification import ErrorKind, classify
from ordersaga.database import TABLES_MISSING
from ordersaga.log import LogEvent, log_context, safe_message
from ordersaga.log_throttle import LogThrottle
from ordersaga.relay import Relay

logger = get_logger(__name__)


class ShutdownFlag:
    """A shared byte, created before the fork, that informs the children of a prefork pool of a shutdown."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)
        signals.worker_shutting_down.connect(self._set, weak=False)

    def _set(self, **_: Any) -> None:
        self._byte[0] = 1

    def sleep(self, seconds: float) -> bool:
        """Wait; return False if the worker must stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._byte[0]:
                return False
            time.sleep(min(left, 0.1))
        return not self._byte[0]


class RelayStep(bootsteps.StartStopStep):
    """Runs the relay of the participant's outbox in a thread of the worker's main process."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, **_: Any) -> None:
        self._relay: Relay | None = None
        self._thread: threading.Thread | None = None
        self._throttle = LogThrottle()

    def start(self, worker: Any) -> None:
        worker_context = worker.app.ordersaga
        participant, choreography = worker_context.participant, worker_context.choreography
        publisher = Publisher(worker.app.connection_for_write(), choreography, worker_context.keyring)
        self._report_alive, self._name = partial(worker_context.report_alive, RELAY), participant.name
        self._publisher = publisher
        self._relay = Relay(
            participant.database.dsn,
            participant.name,
            publisher,
            choreography=choreography,
            linger=worker_context.linger,
            queue_depth=publisher.queue_depth,
            has_unconsumed_queue=publisher.has_unconsumed_queue,
            on_round=self._on_round,
            connect=publisher.open,
        )
        self._thread = threading.Thread(
            target=self._run, args=(self._relay, publisher), name="relay", daemon=True
        )
        self._thread.start()

    def stop(self, worker: Any) -> None:
        """End the thread after the current round."""
        if self._relay is not None and self._thread is not None:
            self._relay.stop()
            self._thread.join(timeout=15)
            self._relay = None

    terminate = stop

    def _run(self, relay: Relay, publisher: Publisher) -> None:
        try:
            with log_context(participant=self._name):
                relay.run(self._on_error)
        finally:
            publisher.close()

    def _on_round(self) -> None:
        self._publisher.check()
        if self._relay is not None:
            self._report_alive(self._relay.problem)

    def _on_error(self, error: Exception, wait: float) -> None:
        tables_missing = classify(error) is ErrorKind.MISSING_TABLE
        self._report_alive(
            TABLES_MISSING if tables_missing else f"the last round failed: {type(error).__name__}"
        )
        if tables_missing:
            if self._throttle.due(TABLES_MISSING):
                sentence = f"The relay waits for its database: {TABLES_MISSING}"
                logger.warning(LogEvent("relay_tables_missing", sentence))
            return
        sentence = "The relay failed and tries again; the outbox keeps its rows."
        logger.warning(LogEvent("relay_failed", sentence, error=safe_message(error), wait=wait))


class BackgroundMessages(bootsteps.StartStopStep):
    """Closes the background publisher with the worker, and reports the broker's alarm in the heartbeat."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, **_: Any) -> None:
        """Create the step; Celery passes its arguments."""

    def start(self, worker: Any) -> None:
        """Report alarms from now on."""
        worker_context = worker.app.ordersaga
        alarm.listen(
            lambda reason: worker_context.report_problem(
                "broker", f"accepts no messages: {reason}" if reason else ""
            )
        )

    def stop(self, worker: Any) -> None:
        """Send the last messages and close."""
        worker.app.ordersaga.background.close()

    terminate = stop


class ExtendVisibilityTimeout(bootsteps.StartStopStep):
    """Extends the visibility timeout of messages in progress on the embedded broker."""

    requires = {"celery.worker.consumer.tasks:Tasks"}
    EVERY = 10.0

    def __init__(self, consumer: Any, **_: Any) -> None:
        self._entry: Any = None

    def include_if(self, consumer: Any) -> bool:
        """Whether the broker returns messages after a timeout, not when the connection closes."""
        return bool(consumer.app.connection_for_read().transport.driver_type == "pgmq")

    def start(self, consumer: Any) -> None:
        """Extend periodically."""
        from ordersaga.celery.pgmq import extend_visibility

        def extend() -> None:
            try:
                extend_visibility(consumer.task_consumer.channel)
            except Exception as error:  # noqa: BLE001 - the next round tries again
                sentence = "The visibility of messages in progress could not be extended."
                logger.warning(LogEvent("visibility_not_extended", sentence, error=safe_message(error)))

        self._entry = consumer.timer.call_repeatedly(self.EVERY, extend)

    def stop(self, consumer: Any) -> None:
        """Stop extending; other workers receive the remaining messages."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None
