"""Celery's consumer with a guarded door: what must not be let in goes to the dead letters, never acknowledged away."""

from __future__ import annotations

from typing import Any

from celery.utils.log import get_logger
from celery.worker import consumer

from ordersaga.celery.living import CONSUMER
from ordersaga.celery.wire import admit, raw_body
from ordersaga.envelope import digest
from ordersaga.errors import EnvelopeError
from ordersaga.logs import told

logger = get_logger(__name__)


class Consumer(consumer.Consumer):
    """Checks every message before Celery sees it, and calls tasks by the participant's own names."""

    class Blueprint(consumer.Consumer.Blueprint):
        """Without delayed delivery: deadlines and retries are rows in PostgreSQL, not ETAs in the broker."""

        default_steps = [s for s in consumer.Consumer.Blueprint.default_steps if "delayed_delivery" not in s]

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """The function called with each message."""
        handle = super().create_task_handler(*args, **kwargs)
        door = self.app.ordersaga

        def on_message(message: Any) -> Any:
            try:
                message._raw_headers, message.headers = message.headers, admit(message, door.keyring, door.tasks)
            except EnvelopeError as error:
                self._refuse(message, error)
                return None
            if message.delivery_info is not None:
                message.delivery_info["routing_key"] = door.participant.name
            return handle(message)

        return on_message

    def perform_pending_operations(self) -> None:
        """Called at each turn where there is no event loop."""
        super().perform_pending_operations()
        if self.hub is None:
            self.app.ordersaga.beat(CONSUMER)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Celery would log the body and acknowledge it; we keep it and log its digest."""
        self._refuse(message, exc)

    def _refuse(self, message: Any, error: Exception) -> None:
        if not isinstance(error, EnvelopeError):
            error = EnvelopeError(f"cannot be decoded: {told(error)}", digest(raw_body(message)))
        logger.error("message refused, to the dead letters: %s", error)
        message.reject_log_error(logger, self.connection_errors)
