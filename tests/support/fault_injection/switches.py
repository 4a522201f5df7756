"""Switches that a test shares with the processes it tests, as files in a folder."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "TEST_SWITCH_FOLDER"
"""The environment variable with the folder's path."""


class FaultSwitches:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def env(self) -> dict[str, str]:
        return {FOLDER: str(self.folder)}

    def on(self, name: str) -> None:
        (self.folder / name).touch()

    def off(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Switch all off, and delete the records."""
        for file in self.folder.iterdir():
            file.unlink()

    def is_on(self, name: str) -> bool:
        return (self.folder / name).exists()

    def processes_at(self, name: str) -> list[int]:
        """Return the ids of the processes that called :meth:`record` with this name, in any order."""
        return [int(file.suffix[1:]) for file in self.folder.glob(f"{name}.*")]

    def record(self, name: str) -> None:
        (self.folder / f"{name}.{os.getpid()}").touch()


def switches() -> FaultSwitches:
    """Return the switches that this process's environment names."""
    return FaultSwitches(Path(os.environ[FOLDER]))
