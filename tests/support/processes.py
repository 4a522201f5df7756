"""Real processes: each has its own process group, logs to a file, and is ended by its id."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

from tests.support.janitor import MARK, janitor
from tests.support.polling import eventually
from tests.support.time_scale import scaled

ROOT = Path(__file__).parents[2]

running: list[Process] = []
"""Every process that was started and has not ended, oldest first; a failing test prints their logs."""


def _inherited() -> dict[str, str]:
    """Return the tests' environment without the Django settings that a test may have set."""
    return {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}


@cache
def run_dir() -> str:
    """Return the folder of the heartbeats of this test run's pools."""
    return str(janitor().folder("run"))


class Process:
    """A command. ``start`` may follow ``stop`` or ``kill``; the log continues in the same file."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        log: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(part) for part in argv]
        self.env = dict(env or {})
        self.cwd = cwd
        self.user = user
        self.log_path = log or janitor().folder("log") / f"{name}.log"
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def __repr__(self) -> str:
        return f"<{self.name} pid={self.pid} returncode={self.returncode}>"

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs, negative after a signal."""
        return self._popen.poll() if self._popen else None

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> Process:
        """Start it with the tests' environment, overridden by ``env``, and with the run's mark."""
        if self.alive:
            raise RuntimeError(f"{self.name} is already running as {self.pid}")
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        identity: dict[str, object] = {}
        if self.user:
            identity = {"user": self.user, "group": primary_group(self.user), "extra_groups": []}
        with self.log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env={**_inherited(), "ORDERSAGA_RUN_DIR": run_dir(), **self.env, MARK: janitor().mark},
                start_new_session=True,
                **identity,  # type: ignore[call-overload]
            )
        if self not in running:
            running.append(self)
        return self

    def logs(self, *, whole: bool = False) -> str:
        """Return what was logged since the last start, or from the beginning."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(0 if whole else self._log_start)
            return log.read().decode(errors="replace")

    def send(self, number: int) -> None:
        """Send a signal to the process, without its children."""
        if self.alive:
            assert self.pid is not None
            os.kill(self.pid, number)

    def wait(self, timeout: float = 30) -> int:
        """Wait until it has ended; return the exit status.

        :raises AssertionError: if it still runs after ``timeout`` seconds, scaled to this machine.
        """
        if self._popen is None:
            raise RuntimeError(f"{self.name} was never started")
        timeout = scaled(timeout)
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} (pid {self.pid}) did not end within {timeout:g} s:\n{self.tail()}"
            ) from None
        if self in running:
            running.remove(self)
        return code

    def terminate(self, timeout: float = 30) -> int:
        """Send TERM to the process, and wait."""
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """Kill the whole group and every descendant at once with SIGKILL, as a power cut does."""
        if self._popen is None:
            return
        try:
            family = psutil.Process(self._popen.pid).children(recursive=True) if self.alive else []
        except psutil.NoSuchProcess:
            family = []
        with suppress(ProcessLookupError):  # the whole group may have ended
            os.killpg(self._popen.pid, signal.SIGKILL)
        for child in family:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        self.wait(10)
        psutil.wait_procs(family, timeout=scaled(10))

    def stop(self, timeout: float = 30) -> None:
        """Send TERM, and SIGKILL at the timeout; no process of the group is left."""
        try:
            if self.alive:
                self.terminate(timeout)
        except AssertionError:
            pass  # the kill below follows
        finally:
            self.kill()

    def wait_for_log(self, text: str, timeout: float = 30) -> None:
        """Wait until ``text`` is logged after the last start; fail at once if the process ends first."""

        def logged() -> bool:
            if text in self.logs():
                return True
            if not self.alive:
                raise RuntimeError(
                    f"{self.name} ended with {self.returncode} before it logged {text!r}:\n{self.tail()}"
                )
            return False

        eventually(logged, timeout, f"{text!r} in the log of {self.name}")

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.logs().splitlines()[-lines:])


def stop_all() -> None:
    """End all running processes, the newest first."""
    for process in reversed(list(running)):
        process.stop(timeout=5)


def primary_group(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid
