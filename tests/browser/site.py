"""A whole site for the browser tests: an installation, the web process, Flower, and users."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Self

from tests.support.databases import OWNERS
from tests.support.db_override import django_at
from tests.support.flower import Flower
from tests.support.installation import Installation
from tests.support.polling import eventually
from tests.support.pools import Pool
from tests.support.ports import free_port, listens
from tests.support.postgres import Postgres
from tests.support.processes import Process
from tests.support.rabbitmq import RabbitMQ
from workers.django_setup import setup

setup()

from django.contrib.auth.hashers import make_password  # noqa: E402 - needs Django's models
from django.contrib.auth.models import Permission, User  # noqa: E402

EVENTS = ("-E", "--without-gossip", "--without-mingle")
"""Options that make a pool send the events that Flower shows."""
PLAN = tuple(Pool(name, kind="threads", args=EVENTS) for name in (*OWNERS, "audit"))
PASSWORD = "open, please"
ACTS = ("place_order", "cancel_order", "resume_saga", "replay_deadletter", "discard_deadletter")
OPERATOR, READER, NEWCOMER, CUSTOMER = "olga", "rita", "nora", "carl"
"""May view and act; may only view; staff without permissions; not staff."""


class Site:
    """A context manager."""

    def __init__(self, postgres: Postgres, templates: dict[str, str], rabbitmq: RabbitMQ) -> None:
        self.installation = Installation("browser", postgres, templates, rabbitmq, plan=PLAN, proxied=False)
        self.flower = Flower(self.installation.env, "--read_only=True", f"--broker_api={rabbitmq.api}")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            "manage.py",
            "runserver",
            "--noreload",
            "--insecure",
            "--skip-checks",
            f"127.0.0.1:{self.port}",
        ]
        env = {**self.installation.env, "ORDERSAGA_FLOWER_URL": self.flower.url}
        self.web = Process(f"web-{self.port}", [sys.executable, *command], env=env)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.callback(self.web.stop)
        self._open.callback(self.flower.process.stop)
        self.web.start()
        self.flower.process.start()
        self._open.enter_context(self.installation)
        self._create_users()
        for port in (self.port, self.flower.port):
            eventually(lambda port=port: listens(port), 60, f"a listener on {port}")  # type: ignore[misc]
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _create_users(self) -> None:
        looks = Permission.objects.filter(
            codename__startswith="view_", content_type__app_label__in=("orders", "audit", "mirrors")
        )
        acts = Permission.objects.filter(codename__in=ACTS)
        with django_at(self.installation.databases.orders):
            password = make_password(PASSWORD)
            names = {OPERATOR: True, READER: True, NEWCOMER: True, CUSTOMER: False}
            people = {
                name: User.objects.create(username=name, password=password, is_staff=staff)
                for name, staff in names.items()
            }
            people[OPERATOR].user_permissions.set([*looks, *acts])
            people[READER].user_permissions.set(looks)
