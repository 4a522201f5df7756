"""The demo's files, all below ``.run/`` of this clone, and the lock that allows one demo per clone.

The lock is released when its last holder ends: the demo or its reaper.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from webapp.ops.demo.output import DemoFailed

ROOT = Path(__file__).resolve().parents[3]
SECRETS = {"password": 9, "secret_key": 48, "flower": 24}
"""The secrets, with their length in bytes."""


@dataclass(frozen=True)
class Paths:
    """The paths below one folder, which may be deleted while no demo runs."""

    run: Path = ROOT / ".run"

    @property
    def postgres(self) -> Path:
        return self.run / "postgres"

    @property
    def logs(self) -> Path:
        return self.run / "logs"

    @property
    def pools(self) -> Path:
        """The heartbeats of the pools."""
        return self.run / "pools"

    @property
    def lock(self) -> Path:
        return self.run / "demo.lock"

    @property
    def started(self) -> Path:
        """What has been started and must be ended; the reaper reads it."""
        return self.run / "demo.started"

    @property
    def env(self) -> Path:
        """Environment variables with the demo's servers, for commands in another terminal."""
        return self.run / "env"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def result(self, name: str) -> Path:
        """The JSON output of a command."""
        return self.logs / f"{name}.json"

    def make(self) -> None:
        """:raises DemoFailed: when the folder cannot be created."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DemoFailed(
                f"{display_path(self.logs)} cannot be created: {error.strerror}.",
                "Use another folder: manage.py demo --folder FOLDER",
            ) from error

    def secrets(self) -> dict[str, str]:
        """Return the login's password, Django's secret key and Flower's password, which are created once."""
        path = self.run / "demo.secrets"
        try:
            kept = json.loads(path.read_text())
            return {name: str(kept[name]) for name in SECRETS}
        except (OSError, ValueError, KeyError, TypeError):
            made = {name: secrets.token_urlsafe(length) for name, length in SECRETS.items()}
        write_private(path, json.dumps(made))
        return made


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def display_path(path: Path) -> str:
    """Return ``path`` relative to the current directory, if it is below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


LOCK_SECONDS = 60.0
"""Seconds that the reaper of a killed demo may take."""


class Lock:
    """The held lock; its file describes the holder."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def fileno(self) -> int:
        """The descriptor that the reaper inherits."""
        return self._file.fileno()

    def tell(self, **known: Any) -> None:
        """Write what another demo reports about this one."""
        whose = {"pid": os.getpid(), "since": psutil.Process().create_time(), **known}
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(whose))
        self._file.flush()


@contextmanager
def hold_lock(paths: Paths) -> Iterator[Lock]:
    """:raises DemoFailed: when another demo of this clone runs."""
    with paths.lock.open("a+") as file:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _take(file):
            other = _read_holder(file)
            if other is not None:
                page = f" Its pages: {other['page']}." if other.get("page") else ""
                raise DemoFailed(
                    f"The demo of this clone is already running, as process {other['pid']}.{page}",
                    "Stop it with Ctrl-C in its terminal, or run the demo in another clone.",
                )
            if time.monotonic() > deadline:
                raise DemoFailed(
                    "The last demo is still shutting down.",
                    f"Wait, or find the process that holds {paths.lock}.",
                )
            time.sleep(0.1)
        lock = Lock(file)
        lock.tell()
        yield lock


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read_holder(file: IO[str]) -> dict[str, Any] | None:
    """Return the demo that holds the lock if it still runs; its reaper may have outlived it."""
    file.seek(0)
    try:
        known: dict[str, Any] = json.loads(file.read())
        process = psutil.Process(known["pid"])
        same = abs(process.create_time() - known["since"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except (ValueError, KeyError, psutil.Error):
        return None
    return known if same else None
