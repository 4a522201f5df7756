"""Simulates another host by a network namespace, behind links whose packets a test may drop.

It needs root. A namespace and its links end with its last process, so nothing is left, however a test run
ends.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.polling import eventually
from tests.support.processes import Process
from tests.support.programs import ip

NOBODY = "02:00:00:00:00:01"
"""A hardware address that no interface has: packets sent to it are lost without an error."""
UNSHARE = ["unshare", "--net", "--"]

_numbers = itertools.count(1)


class Host:
    """A namespace and its links; a context manager."""

    def __init__(self) -> None:
        self._holder = Process("host", [*UNSHARE, "sleep", "infinity"])

    def __enter__(self) -> Self:
        self._holder.start()
        ours = Path("/proc/self/ns/net").readlink()
        eventually(lambda: Path(f"/proc/{self._holder.pid}/ns/net").readlink() != ours, 10, "the namespace")
        _run(self.command(["ip", "link", "set", "lo", "up"]))
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()

    def link(self) -> Link:
        """Create a link to the host."""
        assert self._holder.pid is not None
        return Link(self, self._holder.pid)

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """Return the command that runs ``argv`` on the host; the process keeps its id and its signals."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--", *map(str, argv)]


class Link:
    """A link to the other host.

    :ivar here: the address of this side, on which servers listen. :ivar there: the other host's address.
    """

    def __init__(self, host: Host, pid: int) -> None:
        number = next(_numbers)
        self._host = host
        self._near = f"os{os.getpid() % 100_000}n{number}"  # at most 15 characters
        self._far = f"os{os.getpid() % 100_000}f{number}"
        net = f"10.213.{os.getpid() % 250 + 1}"
        self.here, self.there = f"{net}.{number * 4 + 1}", f"{net}.{number * 4 + 2}"
        _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", str(pid))
        _ip("addr", "add", f"{self.here}/30", "dev", self._near)
        _ip("link", "set", self._near, "up")
        self._there("ip", "addr", "add", f"{self.there}/30", "dev", self._far)
        self._there("ip", "link", "set", self._far, "up")

    def drop(self) -> None:
        """Drop all packets without notice, as an unplugged cable or a firewall does."""
        _ip("neigh", "replace", self.there, "lladdr", NOBODY, "dev", self._near, "nud", "permanent")
        self._there(
            "ip", "neigh", "replace", self.here, "lladdr", NOBODY, "dev", self._far, "nud", "permanent"
        )

    def flow(self) -> None:
        """Stop dropping packets."""
        _ip("neigh", "del", self.there, "dev", self._near)
        self._there("ip", "neigh", "del", self.here, "dev", self._far)

    def connections(self) -> int:
        """Count the TCP connections that the other host sees over this link."""
        return len(self._there("ss", "-Htn", "state", "established", "dst", self.here).splitlines())

    def _there(self, *argv: str) -> str:
        return _run(self._host.command(argv))


def can_make_hosts() -> bool:
    """Return whether this process may create network namespaces; in many containers not even root may."""
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def _ip(*arguments: str) -> str:
    program = ip()
    if program is None:
        raise RuntimeError("iproute2 is not installed; run python -m tests.support.programs")
    return _run([str(program), *arguments])


def _run(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
