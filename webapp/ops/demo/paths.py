"""Where the demo keeps its things: all under ``.run/`` of this clone."""

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
"""Which there are, with their length in bytes."""


@dataclass(frozen=True)
class Paths:
    """The paths under one folder; deleting that folder is always allowed while no demo runs."""

    run: Path = ROOT / ".run"

    @property
    def postgres(self) -> Path:
        return self.run / "postgres"

    @property
    def logs(self) -> Path:
        return self.run / "logs"

    @property
    def pools(self) -> Path:
        """Where the pools show that they are alive."""
        return self.run / "pools"

    @property
    def lock(self) -> Path:
        return self.run / "demo.lock"

    @property
    def started(self) -> Path:
        """What has been started and must be ended: the warden reads it."""
        return self.run / "demo.started"

    @property
    def env(self) -> Path:
        """The demo's servers as variables, for commands in another terminal."""
        return self.run / "env"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def result(self, name: str) -> Path:
        """What a command says in JSON."""
        return self.logs / f"{name}.json"

    def make(self) -> None:
        """:raises DemoFailed: when nothing may be written there."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DemoFailed(
                f"{display_path(self.logs)} cannot be made: {error.strerror}.",
                "Name another folder: manage.py demo --folder FOLDER",
            ) from error

    def secrets(self) -> dict[str, str]:
        """The login's password, Django's secret and Flower's password: made once, readable by their owner
        alone.
        """
        path = self.run / "demo.secrets"
        try:
            kept = json.loads(path.read_text())
            return {name: str(kept[name]) for name in SECRETS}
        except (OSError, ValueError, KeyError, TypeError):
            made = {name: secrets.token_urlsafe(length) for name, length in SECRETS.items()}
        write_private(path, json.dumps(made))
        return made


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def display_path(path: Path) -> str:
    """``path`` as one would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


LOCK_SECONDS = 60.0
"""Seconds granted to the warden of a killed demo."""


class Lock:
    """The lock while it is held; the file says whose it is."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def fileno(self) -> int:
        """To hand the lock on to the warden, too."""
        return self._file.fileno()

    def tell(self, **known: Any) -> None:
        """Note what another demo should be able to say about this one."""
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
                    "End it with Ctrl-C where it was started, or run the demo in another clone.",
                )
            if time.monotonic() > deadline:
                raise DemoFailed(
                    "The last demo is still being put away.", f"Wait, or see who holds {paths.lock}."
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
    """The demo that holds the lock, if it still lives; its warden may have outlived it."""
    file.seek(0)
    try:
        known: dict[str, Any] = json.loads(file.read())
        process = psutil.Process(known["pid"])
        same = abs(process.create_time() - known["since"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except (ValueError, KeyError, psutil.Error):
        return None
    return known if same else None
