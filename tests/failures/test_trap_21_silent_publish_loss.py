from __future__ import annotations

from collections.abc import Callable, Iterator
from unittest.mock import patch

import pytest
from kombu import Connection

from ordersaga import Choreography
from ordersaga.celery import publisher as publishing
from ordersaga.celery.app import configure_broker
from ordersaga.celery.publisher import Publisher
from ordersaga.claim import OutgoingEnvelope
from ordersaga.errors import PublishFailed
from ordersaga.ids import new_id
from ordersaga.sql.outbox import OBSERVERS
from tests.support.amqp_client import KEYRING
from tests.support.polling import eventually
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQ
from workers.choreography import choreography


def envelope(topic: str, recipient: str | None = None) -> OutgoingEnvelope:
    return OutgoingEnvelope(new_id(), topic, recipient, 1, b"{}")


def publisher(url: str, whole: Choreography) -> Publisher:
    settings = configure_broker(url)
    return Publisher(
        Connection(settings["broker_url"], transport_options=settings["broker_transport_options"]),
        whole,
        KEYRING,
    )


@pytest.fixture
def publish(vhost: str) -> Iterator[Publisher]:
    """A relay's publisher on a broker to which no pool has ever connected."""
    one = publisher(vhost, choreography())
    yield one
    one.close()


def test_a_signal_published_before_its_consumer_starts_is_kept(
    publish: Publisher, rabbitmq: RabbitMQ, vhost: str
) -> None:
    publish([envelope("signal.OrderPlaced"), envelope("signal.OrderPlaced", OBSERVERS)])

    queues = rabbitmq.queues(vhost.rpartition("/")[2])
    assert (queues["inventory"].ready, queues["audit"].ready, queues["payments"].ready) == (1, 1, 0)


def test_an_unroutable_message_is_kept(publish: Publisher, rabbitmq: RabbitMQ, vhost: str) -> None:
    publish([envelope("rumour")])

    assert rabbitmq.queues(vhost.rpartition("/")[2])["ordersaga.unheard"].ready == 1


def test_publishing_without_a_confirm_fails(
    vhost: str, rabbitmq: RabbitMQ, proxy: Callable[[int], Proxy]
) -> None:
    between = proxy(rabbitmq.port)
    publish = publisher(between.through(vhost), choreography())
    publish([envelope("signal.OrderPlaced")])
    between.stall()

    with patch.object(publishing, "CONFIRM_SECONDS", 1), pytest.raises(PublishFailed):
        publish([envelope("signal.OrderPlaced")])

    between.flow()
    publish([envelope("signal.OrderPlaced")])
    publish.close()
    name = vhost.rpartition("/")[2]
    eventually(lambda: rabbitmq.queues(name)["inventory"].ready >= 2, 10, "those confirmed")
