"""The demo's child processes: each in a separate session, logged to a file, recorded for the reaper."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from webapp.ops.demo import reaper
from webapp.ops.demo.output import DemoFailed
from webapp.ops.demo.paths import ROOT, Paths, display_path

PAUSE = 0.1
TAIL = 15
PORTS_TRIED = 5


class Child:
    """One process of the demo.

    :ivar log: the file of its output; None for the terminal.
    :ivar result: the file of its standard output alone.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        paths: Paths,
        *,
        log: bool = True,
        result: Path | None = None,
    ) -> None:
        self.name, self._argv, self._env, self._paths = name, [sys.executable, *argv], dict(env), paths
        self.log: Path | None = paths.log(name) if log else None
        self.result = result
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> Child:
        file = self.log or self.result
        output = file.open("wb") if file else None
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - our own commands
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if self.log else None,
                cwd=ROOT,
                env=self._env,
                # Ctrl-C in the terminal reaches only the demo, which stops its children in order
                start_new_session=True,
            )
        finally:
            if output:
                output.close()
        reaper.record_started(self._paths, self._popen.pid)
        return self

    @property
    def pid(self) -> int:
        return self._popen.pid if self._popen else 0

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._popen.poll() if self._popen else None

    def has_logged(self, text: str) -> bool:
        return self.log is not None and text in self.log.read_text(errors="replace")

    def ready(self) -> bool:
        """Return whether it is ready; a child without a service is ready at once."""
        return True

    def interrupt(self, patience: float) -> None:
        """Send SIGINT to this child and wait for its end, at most ``patience`` seconds."""
        if self._popen is not None and self.returncode is None:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                self._popen.send_signal(signal.SIGINT)
                self._popen.wait(patience)

    def failed(self) -> DemoFailed:
        """Return the error that it ended unexpectedly, with the end of its log."""
        code = self.returncode or 0
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        if self.log is None:
            return DemoFailed(f"{self.name} {how}.", "Its output is above.")
        log, run = display_path(self.log), display_path(self._paths.run)
        remedy = f"Its output is in {log}. To start with new data: rm -r {run}"
        return DemoFailed(f"{self.name} {how}.", remedy, self.tail())

    def tail(self) -> str:
        if self.log is None:
            return ""
        return "\n".join(self.log.read_text(errors="replace").rstrip().splitlines()[-TAIL:])


class Pool(Child):
    """A participant's Celery pool."""

    def __init__(self, module: str, env: Mapping[str, str], paths: Paths, concurrency: int = 1) -> None:
        name = module.rsplit(".", 1)[-1]
        worker = [
            "-m",
            "celery",
            "-A",
            module,
            "worker",
            "-n",
            f"{name}@demo",
            "-c",
            str(concurrency),
            "-l",
            "INFO",
        ]
        super().__init__(name, [*worker, "-E", "--without-gossip", "--without-mingle"], env, paths)

    def ready(self) -> bool:
        return self.has_logged(" ready.")


class Page(Child):
    """A web server on a port of the loopback: the wanted one, or a free one after it."""

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        wanted: int,
        env: Mapping[str, str],
        paths: Paths,
    ) -> None:
        super().__init__(name, [], env, paths)
        self._command, self._wanted, self._tries = command, wanted, 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> Child:
        self.port = free_port(self._wanted)
        self._argv = [sys.executable, *self._command(self.port)]
        return super().start()

    def ready(self) -> bool:
        if self.returncode is not None and is_port_taken(self.port) and self._tries < PORTS_TRIED:
            self._tries += 1  # another process has taken the port
            self.start()
        return is_listening(self.pid, self.port)


def wait_until_ready(children: Sequence[Child], timeout: float) -> None:
    """Wait until all children are ready.

    :raises DemoFailed: when one has ended, or after the timeout.
    """
    deadline = time.monotonic() + timeout
    waiting = list(children)
    while waiting:
        waiting = [child for child in waiting if not child.ready()]
        if waiting and time.monotonic() > deadline:
            slow = waiting[0]
            fault = f"{slow.name} is not ready after {timeout:g} s"
            raise DemoFailed(f"{fault}.", "The machine may be overloaded. Try again.", slow.tail())
        require_running(children)
        time.sleep(PAUSE)


def require_running(children: Sequence[Child]) -> None:
    """:raises DemoFailed: when a child has ended."""
    for child in children:
        if child.returncode is not None:
            raise child.failed()


def run_child(child: Child, beside: Sequence[Child], goodbye: float = 5) -> int:
    """Run ``child`` to its end while the children ``beside`` it run; return its exit status.

    :raises DemoFailed: when one of those has ended.
    """
    child.start()
    try:
        while (code := child.returncode) is None:
            require_running(beside)
            time.sleep(PAUSE)
    except BaseException:
        child.interrupt(goodbye)
        raise
    return code


HOST = "127.0.0.1"
TRIED = 200


def free_port(wanted: int) -> int:
    """Return ``wanted`` or the next free port. Another process may take it before it is used."""
    for port in range(wanted, wanted + TRIED):
        with socket.socket() as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # the port may still have connections in TIME_WAIT
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if not is_port_taken(port):
            return port
    raise OSError(f"no free port from {wanted} to {wanted + TRIED - 1}")


def is_port_taken(port: int) -> bool:
    """Return whether a process accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def is_listening(pid: int, port: int) -> bool:
    """Return whether this process listens there, and not another one that took the port."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)
