"""Exchanges, queues and bindings: what the doctor misses is declared, as the pools would."""

from __future__ import annotations

import amqp
from kombu.exceptions import KombuError

from ordersaga.celery.queue_change import QueueChangeError
from ordersaga.celery.topology import declare
from ordersaga.choreography import Choreography
from ordersaga.database import first_line
from webapp.ops import broker
from webapp.ops.broker import ManagementError
from webapp.ops.doctor import pgmq
from webapp.ops.doctor.database import Patient
from webapp.ops.doctor.finding import Finding
from webapp.ops.doctor.rabbitmq import RabbitMQ
from webapp.ops.provision.plan import CannotProvision, Work


def answers(url: str) -> None:
    """That a broker is at the pools' address, be it that it does not know them yet.

    :raises CannotProvision: when none is: what is made would stand elsewhere.
    """
    with broker.connection(url) as connection:
        try:
            connection.connect()
        except (amqp.AccessRefused, amqp.NotAllowed):  # no such user, no such virtual host
            return
        except (*connection.connection_errors, *connection.channel_errors) as error:
            told = f"ORDERSAGA_BROKER_URL: {first_line(error)}. It must be an address of the broker that --rabbitmq-admin names"
            raise CannotProvision(told) from error


def topology(
    work: Work, url: str, choreography: Choreography, management: str = "", *, change_queues: bool = False
) -> None:
    """All of it, on a broker that lets the pools' user in.

    :param change_queues: also change the arguments of queues that stand, with their messages and while pools
        run.
    :raises CannotProvision: a queue stands with other arguments and may not be changed, or could not be.
    """
    if change_queues and not url.startswith("pgmq"):  # the embedded broker changes them at any declaration
        _change_queues(work, RabbitMQ(url, choreography, management))
    wrong = [
        f for f in _findings(url, choreography, management) if f.level == "error" and f.code != "broker-alarm"
    ]
    missing = [
        f"{f.where}: {f.evidence}" if f.code == "binding-missing" else f.where for f in wrong if _makes(f)
    ]
    for what in missing[:-1]:
        work.need(what, lambda: None)
    if missing:
        work.need(missing[-1], lambda: _declare(url, choreography))
    differs = [f for f in wrong if not _makes(f)]
    if differs and not (work.dry and change_queues):
        raise CannotProvision("\n".join(f"{f.where}: {f.what} ({f.evidence}). {f.remedy}." for f in differs))


def _change_queues(work: Work, rabbitmq: RabbitMQ) -> None:
    try:
        for what, change in rabbitmq.change():
            work.need(what, change)
    except (ManagementError, QueueChangeError, amqp.AMQPError, OSError) as error:
        raise CannotProvision(f"Queues could not be changed: {first_line(error)}") from error


def _makes(finding: Finding) -> bool:
    """Whether declaring makes it right."""
    return finding.code.endswith("-missing") or finding.code in {
        "broker-not-furnished",
        "broker-other-version",
    }


def _findings(url: str, choreography: Choreography, management: str) -> list[Finding]:
    if url.startswith("pgmq"):
        with Patient("broker", url) as patient:
            return list(pgmq.topology(patient, choreography))
    return list(RabbitMQ(url, choreography, management).examine())


def _declare(url: str, choreography: Choreography) -> None:
    with broker.connection(url) as connection:
        try:
            declare(connection, choreography)
        except (*connection.connection_errors, *connection.channel_errors, KombuError) as error:
            raise CannotProvision(f"The broker refused the queues: {error}") from error
