"""A participant's pool: the Celery application for ``celery -A … worker`` with its usual options."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from billiard import current_process
from celery import Celery, signals
from celery.exceptions import Reject

from ordersaga.celery import gc_tuning, rabbitmq_transport, time_limit
from ordersaga.celery.amqp_heartbeats import HEARTBEAT
from ordersaga.celery.background import BackgroundPublisher, Dispatcher
from ordersaga.celery.bootsteps import BackgroundMessages, ExtendVisibilityTimeout, RelayStep, ShutdownFlag
from ordersaga.celery.conditions import Conditions
from ordersaga.celery.hung_children import ChildHeartbeats, EndSilentChildren
from ordersaga.celery.message_verification import SERIALIZER, install
from ordersaga.celery.publisher import Publisher
from ordersaga.celery.requeue import HOLD, Requeue
from ordersaga.celery.topology import consumer_queue
from ordersaga.celery.worker import ConsumerHeartbeatStep, HeartbeatStep, NamedWorker
from ordersaga.choreography import Choreography
from ordersaga.claim import OutgoingEnvelope
from ordersaga.errors import EnvelopeError, PublishFailed, Unhandled, WaitAborted
from ordersaga.heartbeat import Heartbeat, default_folder
from ordersaga.log import LogEvent, failure, log_context, safe_message
from ordersaga.outbox import ANSWER, ATTENTION, RESUME_STEP, SETTLE_DEAD_LETTER, UNDO, WATCHDOG
from ordersaga.participant import Participant
from ordersaga.receiver import Delivery, Receiver
from ordersaga.relay import LINGER
from ordersaga.signing import Keyring

logger = logging.getLogger(__name__)

HARD_FACTOR = 2
"""A prefork child is killed when a transaction takes this many times its step's time limit."""


class WorkerContext:
    """The state that the worker's parts share, as ``app.ordersaga`` on the Celery application."""

    def __init__(
        self,
        participant: Participant,
        choreography: Choreography,
        keyring: Keyring,
        linger: timedelta,
        tasks: dict[str, str],
        run_dir: Path,
        background: BackgroundPublisher,
        shutdown: ShutdownFlag,
    ) -> None:
        self.background = background
        self.participant, self.choreography, self.keyring, self.linger = (
            participant,
            choreography,
            keyring,
            linger,
        )
        self.tasks, self.run_dir = tasks, run_dir
        self.shutdown = shutdown
        self.conditions = Conditions()
        self.children = ChildHeartbeats()
        self.heartbeat: Heartbeat | None = None

    def report_alive(self, part: str, problem: str = "") -> None:
        """Record a round of a part of the process, with its problem if there is one."""
        if (heartbeat := self.heartbeat) is not None:
            heartbeat.report_alive(part, problem)

    def report_unavailable(self, part: str) -> None:
        """Record that a part of the process cannot work now."""
        if (heartbeat := self.heartbeat) is not None:
            heartbeat.report_unavailable(part)

    def report_problem(self, subject: str, problem: str) -> None:
        """Show a problem of something outside the process; an empty one ends it."""
        if (heartbeat := self.heartbeat) is not None:
            heartbeat.report_problem(subject, problem)


def create_app(
    participant: Participant,
    choreography: Choreography,
    *,
    broker_url: str,
    keyring: Keyring,
    linger: timedelta = LINGER,
    hold: timedelta = HOLD,
    run_dir: Path | None = None,
    bootsteps: Sequence[type] = (),
) -> Celery:
    """Create the Celery application of one participant.

    :param broker_url: ``amqp://…`` (RabbitMQ) or ``pgmq://…`` (the embedded broker).
    :param linger: how long the relay waits for more rows in a stream.
    :param hold: how long an envelope is held while the participant's database is not available, before it is
        published again; must be shorter than RabbitMQ's ``consumer_timeout``.
    :param run_dir: the folder of the heartbeat files; by default in the temporary folder.
    :param bootsteps: further worker bootsteps, such as the audit's for dead letters.
    """
    install()
    # At DEBUG this logger logs the arguments of tasks, which are whole envelopes.
    logging.getLogger("celery.pool").setLevel(logging.INFO)
    app = Celery(participant.name, set_as_current=True, fixups=[])
    app.conf.update(configure_broker(broker_url))
    app.conf.update(
        worker_consumer="ordersaga.celery.consumer:Consumer",
        accept_content=["json", SERIALIZER],
        task_queues=[consumer_queue(participant, choreography)],
        task_default_queue=participant.name,
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure=False,
        task_acks_on_timeout=False,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        worker_prefetch_multiplier=1,
        worker_detect_quorum_queues=True,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_enable_remote_control=True,
        worker_hijack_root_logger=True,
        worker_send_task_events=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
    )
    receiver = Receiver(participant, choreography)
    background = BackgroundPublisher(lambda: app.connection_for_write(heartbeat=app.conf.broker_heartbeat))
    shutdown = ShutdownFlag()
    requeue = Requeue(_publisher(app, choreography, keyring), shutdown.sleep, hold)
    receiver.transactions.sleep = requeue.wait_or_requeue
    tasks = {
        topic: _task(app, name, receiver, requeue) for topic, name in _task_names(participant, choreography)
    }
    folder = run_dir or default_folder()
    worker_context = WorkerContext(
        participant, choreography, keyring, linger, tasks, folder, background, shutdown
    )
    app.ordersaga = worker_context
    receiver.transactions.report = worker_context.conditions.report
    _limit_children(receiver)
    gc_tuning.connect()
    app.Worker = app.subclass_with_self(NamedWorker, "Worker")
    app.events.dispatcher_cls = Dispatcher
    app.steps["worker"].update({HeartbeatStep, RelayStep, BackgroundMessages, EndSilentChildren})
    app.steps["consumer"].update({ConsumerHeartbeatStep, ExtendVisibilityTimeout})
    for step in bootsteps:
        app.steps["worker"].add(step)
    return app


def configure_broker(url: str) -> dict[str, Any]:
    """Install the transport of a broker URL; return Celery's settings for it, without publisher confirms.

    Only the relay's own connection uses confirms.
    """
    if url.startswith("pgmq"):
        from ordersaga.celery import pgmq

        pgmq.install()
        return pgmq.broker_settings(url)
    rabbitmq_transport.install()
    return {"broker_url": url, "broker_heartbeat": HEARTBEAT, "broker_transport_options": {}}


def _task_names(participant: Participant, choreography: Choreography) -> list[tuple[str, str]]:
    """The Celery task of each topic that the participant consumes; a topic may be a beginning with a dot."""
    name = participant.name
    if participant.observer is not None:
        topics = ["signal.", "refusal.", ANSWER, ATTENTION, "notice"]
        return [(topic, f"{name}.observe") for topic in topics]
    found = [(f"signal.{s.signature.consumes.__name__}", s.task) for s in participant.steps.values()]
    found += [
        ("refusal.", f"{name}.receive_refusal"),
        (UNDO, f"{name}.retry_undo"),
        (SETTLE_DEAD_LETTER, f"{name}.settle_dead_letter"),
    ]
    found += [(RESUME_STEP, f"{name}.resume_step")]
    if name == choreography.saga.initiator:
        found += [
            (ANSWER, f"{name}.record_answer"),
            (ATTENTION, f"{name}.record_attention"),
            (WATCHDOG, f"{name}.watch"),
        ]
    return found


def _publisher(
    app: Celery, choreography: Choreography, keyring: Keyring
) -> Callable[[OutgoingEnvelope], None]:
    """A function that publishes one envelope on a new connection, which a forked child may use."""

    def publish(envelope: OutgoingEnvelope) -> None:
        publisher = Publisher(app.connection_for_write(), choreography, keyring)
        try:
            if rejected := publisher([envelope]):
                raise PublishFailed(rejected[0].fault)
        finally:
            publisher.close()

    return publish


def _task(app: Celery, name: str, receiver: Receiver, requeue: Requeue) -> str:
    if name in app.tasks:
        return name

    def handle(self: Any, body: bytes) -> None:
        # Celery logs exceptions and sends them as events, so those raised here contain only safe messages.
        request = self.request
        # the receiver sets the same log fields, but its block has ended when the errors are logged here
        topic, to = request.ordersaga_topic, receiver.participant.name
        envelope = OutgoingEnvelope(request.root_id, topic, to, request.ordersaga_signals, body)
        with (
            log_context(participant=to, step=name, topic=topic, task=request.id),
            requeue.holding(envelope) as held,
        ):
            try:
                receiver.receive(topic, body, Delivery(request.id, request.ordersaga_count))
            except WaitAborted as error:
                if not held.requeued:
                    raise Reject(error, requeue=True) from None
            except EnvelopeError as error:
                sentence = "The envelope cannot be accepted; it becomes a dead letter."
                event = LogEvent("envelope_refused", sentence, error=safe_message(error))
                logger.log(logging.ERROR, event)
                raise Reject(error, requeue=False) from None
            except Exception as error:  # noqa: BLE001 - replaced by its safe message
                sentence = "The envelope could not be handled; it becomes a dead letter."
                event = LogEvent("envelope_not_handled", sentence, **failure(error, whole=True))
                logger.log(logging.ERROR, event)
                raise Unhandled(safe_message(error)) from None

    handle.__doc__ = f"Envelopes for {name}."
    app.task(name=name, bind=True)(handle)
    return name


def _limit_children(receiver: Receiver) -> None:
    """Kill each forked child whose transaction takes too long."""

    def arm(**_: Any) -> None:
        if current_process().name == "MainProcess":  # a solo pool must not end the worker
            return
        receiver.transactions.guard = lambda limit: time_limit.hard(limit.total_seconds() * HARD_FACTOR)

    if sys.platform != "win32":
        signals.worker_process_init.connect(arm, weak=False)
