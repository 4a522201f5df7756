"""Free ports of the loopback."""

from __future__ import annotations

import socket

import psutil

HOST = "127.0.0.1"
TRIED = 200


def free_port(wanted: int) -> int:
    """``wanted`` or the next one that nobody listens at. Another process may take it before it is used."""
    for port in range(wanted, wanted + TRIED):
        with socket.socket() as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # connections of an earlier server may linger
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if not taken(port):
            return port
    raise OSError(f"no free port from {wanted} to {wanted + TRIED - 1}")


def taken(port: int) -> bool:
    """Whether somebody answers there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def listens(pid: int, port: int) -> bool:
    """Whether it is this very process that listens there, and not a stranger who was quicker."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)
