"""A private RabbitMQ node with its own name, ports, port mapper, cookie and data."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import amqp

from tests.support.janitor import janitor
from tests.support.polling import eventually
from tests.support.ports import free_port, listens
from tests.support.processes import Process
from tests.support.programs import epmd, rabbitmq_programs
from tests.support.time_scale import scaled

USER = "tester"
PASSWORD = "private"

CONFIG = """
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
default_user = {user}
default_pass = {password}
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = error
log.file = false
collect_statistics_interval = 500
"""

ALARMS = {
    "memory": ("set_vm_memory_high_watermark", "0.000001", "0.6"),
    "disk": ("set_disk_free_limit", "900000GB", "50MB"),
}
"""For each kind of alarm: rabbitmqctl's command, the limit that raises the alarm, and the limit that ends it.
"""

ADVANCED_CONFIG = (
    "[{rabbit, [{quorum_tick_interval, 500}]}].\n"  # the interval of quorum queues' reports; 5 s by default
)


@dataclass(frozen=True)
class Queue:
    """The result of a passive declaration; unacknowledged messages are not counted."""

    name: str
    ready: int
    consumers: int


class RabbitMQ:
    """A node. ``stop`` and ``kill`` keep its data; ``start`` and ``restart`` use the same ports."""

    def __init__(self) -> None:
        programs = rabbitmq_programs()
        mapper: Path | str | None = epmd() if programs is None or programs.root is None else "/usr/bin/epmd"
        if programs is None or mapper is None:
            raise RuntimeError("RabbitMQ's programs are not installed; run python -m tests.support.programs")
        self.port, self.management_port, distribution, mapper_port = (free_port() for _ in range(4))
        self.folder = janitor().folder("mq")
        self.node = f"{self.folder.name}@localhost"
        self._programs = programs
        self._write_files()
        self.env = {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            # Not the machine's /etc/rabbitmq/rabbitmq-env.conf.
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        # A private port mapper in the foreground: one that Erlang starts would outlive the tests.
        self._mapper = Process(
            "epmd", programs.argv(mapper), env=self.env, log=self.folder / "epmd.log", cwd=self.folder
        )
        self.process = Process(
            "rabbitmq",
            programs.argv("rabbitmq-server"),
            env=self.env,
            log=self.folder / "server.log",
            cwd=self.folder,
        )

    def _write_files(self) -> None:
        ports = {"amqp": self.port, "management": self.management_port}
        (self.folder / "rabbitmq.conf").write_text(CONFIG.format(user=USER, password=PASSWORD, **ports))
        (self.folder / "advanced.config").write_text(ADVANCED_CONFIG)
        (self.folder / "none.conf").touch()
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(janitor().mark)
        cookie.chmod(0o400)

    def start(self) -> None:
        if not self._mapper.alive:
            self._mapper.start()
            eventually(lambda: listens(int(self.env["ERL_EPMD_PORT"])), 10, "Erlang's port mapper")
        self.process.start()
        eventually(self._answers, 90, "RabbitMQ", ignoring=(OSError, amqp.AMQPError))

    def ensure(self) -> None:
        """Start the node if a test has stopped it."""
        if not self.process.alive:
            self.start()

    def _answers(self) -> bool:
        if not self.process.alive:
            raise RuntimeError(f"RabbitMQ ended with {self.process.returncode}:\n{self.process.tail()}")
        self._ask("GET", "overview")
        with self.connect("/"):
            return True

    def stop(self) -> None:
        """Shut the broker down; the port mapper stays for the next start."""
        self.process.stop(60)

    def kill(self, *, settle: bool = True) -> None:
        """Kill the broker, the Erlang machine and its helpers at once with SIGKILL.

        A quorum queue's name reaches the disk up to three seconds after its declaration (seen on 3.10). A
        node killed earlier restarts with an empty queue of that name, without its confirmed messages.
        ``settle`` writes the names first, so that a test may kill the node soon after it declared queues.
        """
        if settle:
            self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")
        self.process.kill()

    def restart(self) -> None:
        if self.process.alive:
            self.stop()
        self.start()

    def close(self) -> None:
        """End all processes of the node at once, without saving its data."""
        self.process.kill()
        self._mapper.kill()

    def url(self, vhost: str) -> str:
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    @property
    def api(self) -> str:
        """The URL of the management interface, in the form that Flower takes."""
        return f"http://{USER}:{PASSWORD}@127.0.0.1:{self.management_port}/api/"

    def connect(self, vhost: str, **options: Any) -> amqp.Connection:
        """Return a plain AMQP connection; use it as a context manager."""
        address = f"127.0.0.1:{self.port}"
        return amqp.Connection(
            address, userid=USER, password=PASSWORD, virtual_host=vhost, connect_timeout=scaled(5), **options
        )

    def add_vhost(self, vhost: str) -> str:
        """Create a virtual host; return its URL."""
        self._ask("PUT", f"vhosts/{quote(vhost, safe='')}")
        return self.url(vhost)

    def set_policy(self, vhost: str, queue: str, definition: dict[str, Any]) -> None:
        """Apply a policy to one queue; the policy has the queue's name."""
        policy = {"pattern": f"^{re.escape(queue)}$", "definition": definition, "apply-to": "queues"}
        self._ask("PUT", f"policies/{quote(vhost, safe='')}/{quote(queue, safe='')}", policy)

    def delete_policy(self, vhost: str, queue: str) -> None:
        self._ask("DELETE", f"policies/{quote(vhost, safe='')}/{quote(queue, safe='')}")

    def add_user(self, user: str, vhost: str, *, topics: dict[str, str]) -> str:
        """Create a user with all rights in ``vhost``, except that it may publish only matching topics, by
        exchange; return its URL.
        """
        name, rights = quote(vhost, safe=""), {"configure": ".*", "write": ".*", "read": ".*"}
        self._ask("PUT", f"users/{user}", {"password": PASSWORD, "tags": ""})
        self._ask("PUT", f"permissions/{name}/{user}", rights)
        for exchange, pattern in topics.items():
            self._ask(
                "PUT",
                f"topic-permissions/{name}/{user}",
                {"exchange": exchange, "write": pattern, "read": ".*"},
            )
        return f"amqp://{user}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def vhost(self, vhost: str) -> dict[str, Any]:
        """Return the management interface's statistics of a virtual host, some hundred milliseconds old."""
        result: dict[str, Any] = self._ask("GET", f"vhosts/{quote(vhost, safe='')}")
        return result

    def delete_vhost(self, vhost: str) -> None:
        self._ask("DELETE", f"vhosts/{quote(vhost, safe='')}")

    def close_connections(self, vhost: str) -> int:
        """Make the broker close every connection to ``vhost`` that it lists (new ones after seconds); return
        how many.
        """
        names = [c["name"] for c in self._ask("GET", f"vhosts/{quote(vhost, safe='')}/connections")]
        for name in names:
            self._ask("DELETE", f"connections/{quote(name, safe='')}")
        return len(names)

    def queues(self, vhost: str) -> dict[str, Queue]:
        """Return the queues of ``vhost`` with their ready messages at this moment.

        Exclusive queues of other connections, such as those of Celery's remote control, are left out.
        """
        rows = self._ask("GET", f"queues/{quote(vhost, safe='')}?disable_stats=true")
        found = {}
        with self.connect(vhost) as connection:
            for row in rows:
                with suppress(amqp.ResourceLocked, amqp.NotFound), connection.channel() as channel:
                    result = channel.queue_declare(row["name"], passive=True)
                    found[result.queue] = Queue(result.queue, result.message_count, result.consumer_count)
        return found

    def unsettled(self, vhost: str) -> dict[str, int]:
        """Return the ready and unacknowledged messages by queue. Queues report them twice a second, so read
        them twice.
        """
        rows = self._ask("GET", f"queues/{quote(vhost, safe='')}?disable_stats=true&enable_queue_totals=true")
        return {row["name"]: row.get("messages", 0) for row in rows}

    def described(self, vhost: str) -> str:
        """Return everything that the management interface has on a virtual host, as JSON."""
        name = quote(vhost, safe="")
        pages = [f"{what}/{name}" for what in ("queues", "exchanges", "bindings", "consumers")]
        pages += [f"vhosts/{name}/connections", f"vhosts/{name}/channels"]
        return json.dumps([self._ask("GET", page) for page in pages])

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl --quiet …``; return its output."""
        argv = self._programs.argv("rabbitmqctl", "--quiet", "--node", self.node, *arguments)
        env = {**os.environ, **self.env}
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env=env, cwd=self.folder, timeout=scaled(60)
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def alarm(self, kind: str = "memory") -> Iterator[None]:
        """Raise the node's ``memory`` or ``disk`` alarm: it accepts no messages, in any virtual host."""
        command, low, usual = ALARMS[kind]
        try:
            self.ctl(command, low)
            eventually(
                lambda: "resource_limit" in self.ctl("eval", "rabbit_alarm:get_alarms()."), 20, "the alarm"
            )
            yield
        finally:
            self.ctl(command, usual)
            eventually(
                lambda: "resource_limit" not in self.ctl("eval", "rabbit_alarm:get_alarms()."),
                20,
                "the alarm's end",
            )

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(int(n) for n in re.findall(r"\d+", self._ask("GET", "overview")["rabbitmq_version"])[:3])

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to the management interface, with JSON in and out."""
        return self._ask(method, path, body)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}/api/{path}", data, method=method
        )
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=scaled(20)) as answer:
                result = answer.read()
        except urllib.error.HTTPError as error:
            if method == "DELETE" and error.code == 404:  # already deleted
                return None
            raise
        return json.loads(result) if result else None
