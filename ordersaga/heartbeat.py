"""Write and read the heartbeat of a process: a small locked file with the time when each part last worked.

The kernel releases the lock (``flock``) when the process ends, so that neither a killed process nor a reused
process id counts as alive. Times are seconds since the machine's start and do not depend on the clock.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

EVERY = 2.0
"""Seconds between two writes."""
STALE = 30.0
"""Seconds without a beat after which a part counts as hanging. The slowest regular round, a wait for a
confirm and for a connection, takes less.
"""


class ProcessStatus(NamedTuple):
    """The last state that a process wrote.

    :ivar ages: the seconds since each part's last beat; None for a part that has not begun or cannot work.
    :ivar problems: a sentence for each part with a problem.
    """

    pid: int
    node: str
    ages: dict[str, float | None]
    problems: dict[str, str]

    @property
    def faults(self) -> dict[str, str]:
        """The parts that do not work, with their problems."""
        found = {}
        for part, age in self.ages.items():
            if age is None or age > STALE:
                since = (
                    "has not begun or lost its connection"
                    if age is None
                    else f"has not made a round for {age:.0f} s"
                )
                found[part] = f"{since}{': ' if part in self.problems else ''}{self.problems.get(part, '')}"
        return found


class Heartbeat:
    """Writes the heartbeat: parts call :meth:`report_alive` in each round, and a thread writes the file."""

    def __init__(self, folder: Path, participant: str, node: str, parts: tuple[str, ...]) -> None:
        self._path = folder / f"{participant}.{socket.gethostname()}.{os.getpid()}.json"
        self._node = node
        self._beats: dict[str, float | None] = dict.fromkeys(parts)
        self._problems: dict[str, str] = {}
        self._file = -1
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.occupied: Callable[[], tuple[str, ...]] = tuple
        """Returns the parts that are busy with work and therefore count as alive."""
        self.conditions: Callable[[], dict[str, str]] = dict
        """Returns the problems of the process's children, by part."""

    def report_alive(self, part: str, problem: str = "") -> None:
        """Record a round of ``part``, with its problem if there is one."""
        self._beats[part] = time.monotonic()
        if problem:
            self._problems[part] = problem
        else:
            self._problems.pop(part, None)

    def report_unavailable(self, part: str) -> None:
        """Record that ``part`` cannot work now."""
        self._beats[part] = None

    def report_problem(self, subject: str, problem: str) -> None:
        """Show a problem of something outside the process, such as its broker; an empty one ends it."""
        if problem:
            self._problems[subject] = problem
        else:
            self._problems.pop(subject, None)

    def start(self) -> None:
        """Create the file and the thread that writes it.

        :raises OSError: when the folder belongs to another user, or the folder or the file cannot be written.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._path.parent.stat().st_uid != os.geteuid():
            raise PermissionError(f"{self._path.parent} belongs to another user")
        os.register_at_fork(after_in_child=self._forget)
        while self._file < 0:
            self._file = self._locked()
        self._write()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and remove the file."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None
            self._path.unlink(missing_ok=True)
            self._forget()

    def _locked(self) -> int:
        """Open and lock the file; -1 if a reader removed it as a dead process's before the lock."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_ino == self._path.stat().st_ino:
                return file
        except (BlockingIOError, FileNotFoundError):
            time.sleep(0.01)
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return -1

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            with suppress(OSError):  # on a full disk, the last state becomes stale
                self._write()

    def _write(self) -> None:
        for part in self.occupied():
            self.report_alive(part)
        words = {**self._problems, **self.conditions()}
        text = json.dumps(
            {"pid": os.getpid(), "node": self._node, "beats": dict(self._beats), "words": words}
        )
        body = text.encode()
        os.pwrite(self._file, body, 0)
        os.ftruncate(self._file, len(body))

    def _forget(self) -> None:
        """Close the file in a forked child, which may outlive its parent and must not hold the lock."""
        self._thread = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def live_processes(folder: Path, participant: str) -> list[ProcessStatus]:
    """The live processes of a participant's pool on this machine; files of dead ones are removed."""
    files = sorted(folder.glob(f"{participant}.{socket.gethostname()}.*.json"))
    return [status for file in files for status in _status(file)]


def _status(path: Path) -> Iterator[ProcessStatus]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        if _dead(file):
            path.unlink(missing_ok=True)
            return
        found: dict[str, Any] = {}
        for _ in range(5):
            try:
                found = json.loads(os.pread(file, 65536, 0))
                break
            except ValueError:  # read between the write and the truncation
                time.sleep(0.01)
        if found:
            now = time.monotonic()
            ages = {part: None if at is None else max(0.0, now - at) for part, at in found["beats"].items()}
            yield ProcessStatus(found["pid"], found["node"], ages, found["words"])
    finally:
        os.close(file)


def _dead(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def default_folder() -> Path:
    """The default folder of heartbeat files."""
    return Path(tempfile.gettempdir()) / f"ordersaga-{os.geteuid()}"
