"""Free ports on the loopback interface."""

from __future__ import annotations

import os
import random
import socket

# Below the kernel's range for outgoing connections: a client that retries while a server is down must not get
# the server's port, nor connect to itself.
RANGE = range(20_000, 32_000)
# Two test processes search different halves, so that they cannot choose the same port.
SHARE = RANGE[::2] if os.environ.get("PYTEST_XDIST_WORKER") == "gw0" else RANGE[1::2]

_given: set[int] = set()


def free_port() -> int:
    """Return a port on which no process listens; a process never gets the same one twice."""
    for port in random.sample(SHARE, 200):
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError(
        f"no free port between {RANGE.start} and {RANGE.stop}: too many servers are running here"
    )


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
