"""A healthy environment for the doctor's tests: databases, a virtual host with all queues, and a user."""

from __future__ import annotations

import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps
from typing import Any
from urllib.parse import quote

from kombu import Connection

from ordersaga.celery.topology import bind, declare, queues
from tests.support.databases import Databases, copies, drop
from tests.support.postgres import Postgres
from tests.support.rabbitmq import PASSWORD as ADMIN_PASSWORD
from tests.support.rabbitmq import USER as ADMIN
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled
from webapp.ops.doctor import Finding, examine
from workers.choreography import choreography
from workers.settings import Settings, read

VHOST, USER, SECRET = "doctor", "pools", "a-secret-of-its-own"


class DoctorEnvironment:
    """Servers that the doctor examines, with the settings of production, which allow no exception."""

    def __init__(self, postgres: Postgres, databases: Databases, rabbitmq: RabbitMQ) -> None:
        self.postgres, self.databases, self.rabbitmq = postgres, databases, rabbitmq
        self.management = f"http://127.0.0.1:{rabbitmq.management_port}"
        self.settings: Settings = read(
            env="production",
            secret_key="s" * 48,
            signing_keys="k:" + "k" * 48,
            orders_database_url=databases.orders,
            inventory_database_url=databases.inventory,
            payments_database_url=databases.payments,
            broker_url=f"amqp://{USER}:{SECRET}@127.0.0.1:{rabbitmq.port}/{VHOST}",
        )

    def examine(self, management: str | None = None, **changed: Any) -> list[Finding]:
        """Run the doctor, with some settings changed."""
        ours = self.settings.model_copy(update=changed)
        address = self.management if management is None else management
        return examine(ours, choreography(), management=address, pools_running=False)

    def name(self, owner: str) -> str:
        """Return the name of a participant's database."""
        return str(getattr(self.databases, owner).rpartition("/")[2])

    def run(self, owner: str, *statements: str) -> None:
        """Run statements as superuser; ``{orders}`` and so on are replaced by the databases' names."""
        names = {each: self.name(each) for each in ("orders", "inventory", "payments")}
        with self.postgres.connect(self.name(owner)) as cursor:
            for statement in statements:
                for each, name in names.items():
                    statement = statement.replace(f"{{{each}}}", name)  # noqa: PLW2901 - read once
                cursor.execute(statement)

    def request(self, method: str, path: str, **body: Any) -> None:
        """Send a request to RabbitMQ's management API as its administrator; the caller quotes ``path``."""
        data = dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self.management}/api/{path}", data, method=method)
        request.add_header(
            "Authorization", "Basic " + b64encode(f"{ADMIN}:{ADMIN_PASSWORD}".encode()).decode()
        )
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request, timeout=scaled(20)).close()

    def redeclare(self, queue: str, **arguments: Any) -> None:
        """Recreate a queue and its bindings with changed arguments; None removes an argument."""
        wanted: Any
        [wanted] = [q for q in queues(choreography()) if q.name == queue]
        given = {
            **(wanted.queue_arguments or {}),
            **{f"x-{k.replace('_', '-')}": v for k, v in arguments.items()},
        }
        self.request("DELETE", f"queues/{VHOST}/{quote(queue, safe='')}")
        self.request("PUT", f"queues/{VHOST}/{quote(queue, safe='')}", durable=True,
                 arguments={k: v for k, v in given.items() if v is not None})  # fmt: skip
        with Connection(self.settings.broker_url) as connection, connection.channel() as channel:
            bind(wanted(channel))

    def heal_queue(self, queue: str) -> None:
        """Recreate a queue as the pools declare it."""
        self.request("DELETE", f"queues/{VHOST}/{quote(queue, safe='')}")
        self.declare()

    def declare(self) -> None:
        with Connection(self.settings.broker_url) as connection:
            declare(connection, choreography())


@contextmanager
def healthy(postgres: Postgres, templates: dict[str, str], rabbitmq: RabbitMQ) -> Iterator[DoctorEnvironment]:
    postgres.ensure()
    rabbitmq.ensure()
    databases = copies(postgres, templates)
    rabbitmq.add_vhost(VHOST)
    doctor_env = DoctorEnvironment(postgres, databases, rabbitmq)
    doctor_env.request("PUT", f"users/{USER}", password=SECRET, tags="management")
    doctor_env.request("PUT", f"permissions/{VHOST}/{USER}", configure=".*", write=".*", read=".*")
    doctor_env.declare()
    yield doctor_env
    postgres.ensure()
    drop(postgres, databases)
    rabbitmq.ensure()
    rabbitmq.delete_vhost(VHOST)
    doctor_env.request("DELETE", f"users/{USER}")
