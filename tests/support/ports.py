"""Free ports on the loopback."""

from __future__ import annotations

import os
import random
import socket

# Below the kernel's range for outgoing connections: while a server is down, a client that tries again and
# again must neither be given its port nor connect to itself.
RANGE = range(20_000, 32_000)
# Two test processes side by side look into different halves, or both might find the same port free.
SHARE = RANGE[::2] if os.environ.get("PYTEST_XDIST_WORKER") == "gw0" else RANGE[1::2]

_given: set[int] = set()


def free_port() -> int:
    """A port nobody listens on, never given twice in one process."""
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
