"""Another host, as far as TCP can tell: a network namespace behind a link whose packets a test may drop.

Needs root, as making namespaces does.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.services import ip

NOBODY = "02:00:00:00:00:01"
"""A hardware address that no interface has: what is sent there is lost, and the sender has no error."""

_numbers = itertools.count(1)


class Network:
    """A namespace and a link to it; use as a context manager.

    :ivar here: this side's address, which servers listen on.
    :ivar there: the other host's.
    """

    def __init__(self) -> None:
        program = ip()
        if program is None:
            raise RuntimeError("iproute2 is not here; python -m tests.support.services says what to do")
        self._ip, number = program, next(_numbers)
        self.name = f"os-{os.getpid()}-{number}"
        self._link = f"os{os.getpid() % 100_000}h{number}"  # at most 15 characters
        third = os.getpid() % 250 + 1
        self.here, self.there = f"10.213.{third}.{number * 4 + 1}", f"10.213.{third}.{number * 4 + 2}"

    def __enter__(self) -> Self:
        peer = f"{self._link}p"
        self._run("netns", "add", self.name)
        self._run("link", "add", self._link, "type", "veth", "peer", "name", peer, "netns", self.name)
        self._run("addr", "add", f"{self.here}/30", "dev", self._link)
        self._run("link", "set", self._link, "up")
        self._run("-n", self.name, "addr", "add", f"{self.there}/30", "dev", peer)
        self._run("-n", self.name, "link", "set", peer, "up")
        self._run("-n", self.name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("link", "del", self._link)
        self._run("netns", "del", self.name)

    def inside(self, argv: Sequence[str | Path]) -> list[str]:
        """The command that runs ``argv`` on the other host; the process keeps its number and its signals."""
        return [str(self._ip), "netns", "exec", self.name, *map(str, argv)]

    def drop(self) -> None:
        """From now on no packet arrives, and nobody is told: as when a cable is pulled or a firewall forgets."""
        self._run("neigh", "replace", self.there, "lladdr", NOBODY, "dev", self._link, "nud", "permanent")
        self._run("-n", self.name, "neigh", "replace", self.here, "lladdr", NOBODY, "dev", f"{self._link}p", "nud", "permanent")

    def flow(self) -> None:
        """Packets arrive again."""
        self._run("neigh", "del", self.there, "dev", self._link)
        self._run("-n", self.name, "neigh", "del", self.here, "dev", f"{self._link}p")

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([self._ip, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
