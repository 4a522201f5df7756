"""Where the demo keeps its things: all under ``.run/`` of this clone."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


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

    def make(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)

    def secrets(self) -> dict[str, str]:
        """The login's password and Django's secret: made once, readable by their owner alone."""
        path = self.run / "demo.secrets"
        try:
            kept = json.loads(path.read_text())
            return {"password": str(kept["password"]), "secret_key": str(kept["secret_key"])}
        except (OSError, ValueError, KeyError, TypeError):
            made = {"password": secrets.token_urlsafe(9), "secret_key": secrets.token_urlsafe(48)}
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
