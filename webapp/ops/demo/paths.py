"""Where the demo keeps its things: all under ``.run/`` of this clone."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from webapp.ops.demo.output import DemoFailed

ROOT = Path(__file__).resolve().parents[3]
SECRETS = {"password": 9, "secret_key": 48, "flower": 24}
"""Which there are, with their length in bytes."""


@dataclass(frozen=True)
class Places:
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
                f"{shown(self.logs)} cannot be made: {error.strerror}.",
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
        private(path, json.dumps(made))
        return made


def private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def shown(path: Path) -> str:
    """``path`` as one would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
