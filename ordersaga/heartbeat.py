"""A process's sign of life: a small file, locked while its process live_processes, that tells when each part
last turned round.

The lock is the kernel's (``flock``), so a process that was killed leaves nothing that could be mistaken for
life, and no process number that is given away again misleads. Times are seconds since the machine's start,
which no clock change moves.
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
"""Seconds between two writings."""
STALE = 30.0
"""Seconds after which a part that has not turned round is held to hang. The slowest honest turn, the wait for
a broker's confirm and then for a connection, takes less.
"""


class ProcessStatus(NamedTuple):
    """What a process last wrote of itself.

    :ivar ages: seconds since each part last turned round; None when it has not begun or says that it cannot.
    :ivar words: what a part has to say of itself, such as an error.
    """

    pid: int
    node: str
    ages: dict[str, float | None]
    words: dict[str, str]

    @property
    def faults(self) -> dict[str, str]:
        """Parts that do not work, with what is wrong."""
        found = {}
        for part, age in self.ages.items():
            if age is None or age > STALE:
                since = (
                    "has not begun or lost its connection"
                    if age is None
                    else f"has not turned round for {age:.0f} s"
                )
                found[part] = f"{since}{': ' if part in self.words else ''}{self.words.get(part, '')}"
        return found


class Heartbeat:
    """The writer's side: parts call :meth:`beat` whenever they turn round; a thread writes it down."""

    def __init__(self, folder: Path, participant: str, node: str, parts: tuple[str, ...]) -> None:
        self._path = folder / f"{participant}.{socket.gethostname()}.{os.getpid()}.json"
        self._node = node
        self._beats: dict[str, float | None] = dict.fromkeys(parts)
        self._words: dict[str, str] = {}
        self._file = -1
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.occupied: Callable[[], tuple[str, ...]] = tuple
        """Names the parts that cannot turn round because they are at work, and are none the worse for it."""
        self.conditions: Callable[[], dict[str, str]] = dict
        """What is in the way of the process's children, by part."""

    def beat(self, part: str, words: str = "") -> None:
        """``part`` has turned round; ``words`` tell what is in its way, if anything is."""
        self._beats[part] = time.monotonic()
        if words:
            self._words[part] = words
        else:
            self._words.pop(part, None)

    def rest(self, part: str) -> None:
        """``part`` cannot work for now."""
        self._beats[part] = None

    def note(self, subject: str, words: str) -> None:
        """Show ``words`` about something that is not a part of the process, such as its broker, until they
        are empty.
        """
        if words:
            self._words[subject] = words
        else:
            self._words.pop(subject, None)

    def start(self) -> None:
        """Begin to write.

        :raises OSError: when the folder cannot be made, is another user's, or the file cannot be written.
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
        """Leave nothing behind."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None
            self._path.unlink(missing_ok=True)
            self._forget()

    def _locked(self) -> int:
        """The file, locked; -1 when a reader took it for a dead one's and removed it before it was."""
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
            with suppress(OSError):  # a full disk: what stands there grows old, and says so
                self._write()

    def _write(self) -> None:
        for part in self.occupied():
            self.beat(part)
        words = {**self._words, **self.conditions()}
        text = json.dumps(
            {"pid": os.getpid(), "node": self._node, "beats": dict(self._beats), "words": words}
        )
        body = text.encode()
        os.pwrite(self._file, body, 0)
        os.ftruncate(self._file, len(body))

    def _forget(self) -> None:
        """A forked child may live a little longer than its parent, and must not hold the lock for it."""
        self._thread = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def live_processes(folder: Path, participant: str) -> list[ProcessStatus]:
    """The processes of a participant's pool that live on this machine; what dead ones have left
    is removed.
    """
    files = sorted(folder.glob(f"{participant}.{socket.gethostname()}.*.json"))
    return [life for file in files for life in _status(file)]


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
            except ValueError:  # read between writing and cutting off
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
    """Where signs of life are written unless the settings say otherwise."""
    return Path(tempfile.gettempdir()) / f"ordersaga-{os.geteuid()}"
