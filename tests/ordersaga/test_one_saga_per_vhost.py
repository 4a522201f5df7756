"""A virtual host carries the signals of one kind of saga; another kind is refused at the start."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from kombu import Connection

from ordersaga import Choreography
from ordersaga.celery.topology import declare
from ordersaga.errors import OtherSaga
from tests.ordersaga.pgmq.peer import connect
from tests.ordersaga.sample_saga import Trip
from tests.support.embedded import BrokerDatabase
from tests.support.processes import Process


def trip(name: str = "trip") -> Choreography:
    """Return a choreography whose saga has this name."""
    whole = Trip().whole()
    object.__setattr__(whole.saga, "name", name)
    return whole


def refused(connection: Connection) -> None:
    declare(connection, trip())
    declare(connection, trip())
    with pytest.raises(OtherSaga, match="carries saga trip, and not delivery"):
        declare(connection, trip("delivery"))


def test_a_second_kind_of_saga_is_refused_on_rabbitmq(vhost: str) -> None:
    with Connection(vhost) as connection:
        refused(connection)


def test_a_second_kind_of_saga_is_refused_on_the_embedded_broker(broker: BrokerDatabase) -> None:
    with connect(broker.url) as connection:
        refused(connection)


def test_a_pool_of_another_saga_stops_with_a_reason(vhost: str, spawn: Callable[..., Process]) -> None:
    with Connection(vhost) as connection:
        declare(connection, trip())

    pool = spawn(
        "inventory", [sys.executable, "-m", "celery", "-A", "workers.inventory", "worker", "--pool", "solo"]
    )

    assert pool.wait(60) == 1
    assert "this virtual host of the broker carries saga trip, and not order" in pool.logs()
