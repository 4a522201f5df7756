"""A network namespace and a mount namespace: links that can drop packets, and small file systems.

Both belong to one holder process. When it ends, however that happens, the links and file systems are gone.
"""

from __future__ import annotations

import ctypes
import os
import random
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from tests.support.polling import eventually
from tests.support.processes import Process

CLONE_NEWNET = 0x40000000
HOLDER = ["unshare", "--mount", "--net", "--propagation", "private", "sleep", "infinity"]


def possible() -> bool:
    """Return whether namespaces can be created: this needs root, and the tools of util-linux and iproute2."""
    trial = ["unshare", "--mount", "--net", "ip", "link"]
    return os.geteuid() == 0 and subprocess.run(trial, capture_output=True, check=False).returncode == 0


class Link:
    """A veth pair; clients connect to ``address``, which is in the namespace."""

    def __init__(self, isolation: Isolation, number: int, network: str) -> None:
        self._isolation, self._name = isolation, f"fr{isolation.pid}x{number}"
        self._here, self.address = f"{network}.{4 * number + 1}", f"{network}.{4 * number + 2}"
        inner = f"{self._name}i"
        _ip("link", "add", self._name, "type", "veth", "peer", "name", inner, "netns", str(isolation.pid))
        _ip("address", "add", f"{self._here}/30", "dev", self._name)
        _ip("link", "set", self._name, "up")
        isolation.ip("address", "add", f"{self.address}/30", "dev", inner)
        isolation.ip("link", "set", inner, "up")

    def drop(self) -> None:
        """Drop every packet in both directions, without notice."""
        self._isolation.ip("route", "add", "blackhole", f"{self._here}/32")

    def restore(self) -> None:
        """Stop dropping packets."""
        self._isolation.ip("route", "delete", "blackhole", f"{self._here}/32")

    def listen(self, port: int) -> socket.socket:
        """Return a listening socket at ``address``, for a server of this process."""

        def make() -> socket.socket:
            with Path(f"/proc/{self._isolation.pid}/ns/net").open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns failed")
            return socket.create_server((self.address, port))

        # a thread that enters a namespace stays in it, so this one ends at once
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(make).result()


class Isolation:
    """A context manager."""

    def __init__(self) -> None:
        self._holder = Process("namespaces", HOLDER)
        self._links = 0
        self._network = f"10.{random.randint(64, 254)}.{random.randint(0, 254)}"

    def __enter__(self) -> Self:
        self._holder.start()
        eventually(self._entered, 10, "the namespaces")
        self.ip("link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.stop(timeout=5)

    def _entered(self) -> bool:
        return Path(f"/proc/{self.pid}/comm").read_text().strip() == "sleep"

    @property
    def pid(self) -> int:
        assert self._holder.pid is not None
        return self._holder.pid

    def ip(self, *words: str) -> None:
        """Run ``ip`` in the network namespace."""
        self._run(f"--net=/proc/{self.pid}/ns/net", "ip", *words)

    def link(self) -> Link:
        """Add a link into the namespace."""
        self._links += 1
        return Link(self, self._links, self._network)

    def mount_small(self, folder: Path, megabytes: int, user: str) -> Path:
        """Mount a file system of this size on ``folder`` in the mount namespace; return its path from
        outside.
        """
        folder.mkdir()
        options = f"size={megabytes}m,mode=0700,uid={user},gid={user}"
        self._run(
            f"--mount=/proc/{self.pid}/ns/mnt", "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)
        )
        return Path(f"/proc/{self.pid}/root{folder}")

    def inside(self, argv: list[str], user: str, group: str) -> list[str]:
        """Return the command that runs ``argv`` as ``user`` in the mount namespace."""
        enter = ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt"]
        return [*enter, "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *argv]

    def _run(self, namespace: str, *argv: str) -> None:
        _checked(["nsenter", namespace, *argv])


def _ip(*words: str) -> None:
    _checked(["ip", *words])


def _checked(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} failed: {done.stderr.strip()}")
