"""The fixture of an installed image: its files in a folder, and the servers of compose on private ports."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.deploy import compose, release
from tests.deploy.compose import Service
from tests.support.janitor import janitor
from tests.support.ports import free_port
from tests.support.postgres import OWNER, PASSWORD, Postgres
from tests.support.processes import ROOT, run_dir
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled

DATABASES = ("ordersaga_orders", "ordersaga_inventory", "ordersaga_payments")


def broker_tags() -> list[str]:
    """Return the tags of the broker's user in the management interface, from the file that compose mounts."""
    text = (ROOT / "deploy" / "rabbitmq" / "ordersaga.conf").read_text()
    return re.findall(r"^default_user_tags\.(\w+) = true$", text, re.MULTILINE)


class InstalledImage:
    """The services of docker-compose.yml, with this machine's addresses in place of its hosts."""

    def __init__(self, postgres: Postgres, rabbitmq: RabbitMQ) -> None:
        self.given = compose.secrets()
        # All tests of this run share the roles, with this password.
        self.given |= dict.fromkeys(
            (f"{role}_PASSWORD" for role in ("ORDERS", "INVENTORY", "PAYMENTS", "READER")), PASSWORD
        )
        self.folder: Path = janitor().folder("app")
        self.web, self.flower = free_port(), free_port()
        self.hosts = {
            "@postgres:5432": f"@127.0.0.1:{postgres.port}",
            "@rabbitmq:5672": f"@127.0.0.1:{rabbitmq.port}",
            "@rabbitmq:15672": f"@127.0.0.1:{rabbitmq.management_port}",
            "@flower:5555": f"@127.0.0.1:{self.flower}",
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - it is what is replaced
            "127.0.0.1:8000": f"127.0.0.1:{self.web}",
            "127.0.0.1:5555": f"127.0.0.1:{self.flower}",
            "--port=5555": f"--port={self.flower}",
            "/opt/ordersaga/venv/bin/": f"{release.PROGRAMS}/",
            "/run/ordersaga": run_dir(),
        }

    def here(self, text: str) -> str:
        for written, found in self.hosts.items():
            text = text.replace(written, found)
        return text

    def services(self) -> dict[str, Service]:
        return compose.services(self.given)

    def command(self, words: list[str]) -> list[str]:
        """Return the words with this machine's addresses, and the program by its path."""
        first, *rest = [self.here(word) for word in words]
        return [first if "/" in first or first == "sh" else str(release.PROGRAMS / first), *rest]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        here = {name: self.here(value) for name, value in variables.items()}
        return release.process_environment(self.folder, {**here, "HOSTNAME": os.uname().nodename})


@pytest.fixture(scope="package")
def image(
    postgres: Postgres, rabbitmq: RabbitMQ, database_templates: dict[str, str]
) -> Iterator[InstalledImage]:
    """The image's files, databases created by compose's own script, and a broker user with a virtual host."""
    postgres.ensure()
    rabbitmq.ensure()
    made = InstalledImage(postgres, rabbitmq)
    release.lay_out(made.folder)
    server = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGPASSWORD": PASSWORD,
        "POSTGRES_USER": OWNER,
    }
    for _ in range(2):  # the second run changes nothing
        subprocess.run(
            ["sh", "deploy/postgres/databases.sh"],
            cwd=ROOT,
            env={**os.environ, **made.given, **server},
            check=True,
            timeout=scaled(30),
        )
    rabbitmq.add_vhost("ordersaga")
    rabbitmq.ctl("add_user", "ordersaga", made.given["RABBITMQ_PASSWORD"])
    rabbitmq.ctl("set_user_tags", "ordersaga", *broker_tags())
    rabbitmq.ctl("set_permissions", "-p", "ordersaga", "ordersaga", ".*", ".*", ".*")
    yield made
    rabbitmq.ensure()
    rabbitmq.delete_vhost("ordersaga")
    postgres.ensure()
    postgres.drop_databases(*DATABASES)
