"""Starts a real Flower, as the documents describe."""

from __future__ import annotations

import base64
import sys
import urllib.request
from collections.abc import Mapping, Sequence

from tests.support.polling import eventually
from tests.support.ports import free_port, listens
from tests.support.processes import Process

PASSWORD = "flower:for-the-web-only"
PREFIX = "admin/flower"


class Flower:
    """One Flower process on a free port of the loopback interface."""

    def __init__(self, env: Mapping[str, str], *options: str, password: str = PASSWORD) -> None:
        self.port = free_port()
        self.password = password
        argv = [
            "-m",
            "celery",
            "-A",
            "workers.orders",
            "flower",
            "--address=127.0.0.1",
            f"--port={self.port}",
        ]
        secret = {"FLOWER_BASIC_AUTH": password} if password else {}
        self.process = Process(
            f"flower-{self.port}",
            [sys.executable, *argv, f"--url_prefix={PREFIX}", *options],
            env={**env, **secret},
        )

    @property
    def url(self) -> str:
        return f"http://{self.password}@127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process.start()
        eventually(lambda: listens(self.port), 60, "Flower")

    def get(self, page: str, headers: Sequence[tuple[str, str]] = ()) -> str:
        """Request a path with the password that the web process uses."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{PREFIX}/{page}", headers=dict(headers)
        )
        request.add_header("Authorization", f"Basic {base64.b64encode(self.password.encode()).decode()}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(answer.read().decode())
