"""Another host, as far as TCP can tell: a network namespace behind links whose packets a test may drop.

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


class Link:
    """One way to the other host.

    :ivar here: this side's address, which servers listen on.
    :ivar there: the other host's.
    """

    def __init__(self, namespace: str) -> None:
        number = next(_numbers)
        self._namespace = namespace
        self._near = f"os{os.getpid() % 100_000}n{number}"  # at most 15 characters
        self._far = f"os{os.getpid() % 100_000}f{number}"
        net = f"10.213.{os.getpid() % 250 + 1}"
        self.here, self.there = f"{net}.{number * 4 + 1}", f"{net}.{number * 4 + 2}"
        ip_("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", namespace)
        ip_("addr", "add", f"{self.here}/30", "dev", self._near)
        ip_("link", "set", self._near, "up")
        ip_("-n", namespace, "addr", "add", f"{self.there}/30", "dev", self._far)
        ip_("-n", namespace, "link", "set", self._far, "up")

    def drop(self) -> None:
        """From now on no packet arrives, and nobody is told: as when a cable is pulled or a firewall forgets."""
        ip_("neigh", "replace", self.there, "lladdr", NOBODY, "dev", self._near, "nud", "permanent")
        ip_("-n", self._namespace, "neigh", "replace", self.here, "lladdr", NOBODY, "dev", self._far, "nud", "permanent")

    def flow(self) -> None:
        """Packets arrive again."""
        ip_("neigh", "del", self.there, "dev", self._near)
        ip_("-n", self._namespace, "neigh", "del", self.here, "dev", self._far)

    def connections(self) -> int:
        """How many TCP connections the other host believes to have over this link."""
        found = ip_("netns", "exec", self._namespace, "ss", "-Htn", "state", "established", "dst", self.here)
        return len(found.splitlines())

    def close(self) -> None:
        ip_("link", "del", self._near)


class Host:
    """A namespace and its links; use as a context manager."""

    def __init__(self) -> None:
        self._name = f"os-{os.getpid()}-{next(_numbers)}"
        self._links: list[Link] = []

    def __enter__(self) -> Self:
        ip_("netns", "add", self._name)
        ip_("-n", self._name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for link in self._links:
            link.close()
        ip_("netns", "del", self._name)

    def link(self) -> Link:
        """A new link to it."""
        self._links.append(Link(self._name))
        return self._links[-1]

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """The command that runs ``argv`` there; the process keeps its number and its signals."""
        return [str(ip()), "netns", "exec", self._name, *map(str, argv)]


def ip_(*arguments: str) -> str:
    """Run ``ip …``; its output.

    :raises RuntimeError: when it fails, or is not installed.
    """
    program = ip()
    if program is None:
        raise RuntimeError("iproute2 is not here; python -m tests.support.services says what to do")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
