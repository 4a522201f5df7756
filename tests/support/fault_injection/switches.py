"""Switches between a test and the processes it tests: files in a folder that both know."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "UNRULY_FOLDER"
"""The variable that tells the processes the folder."""


class Switches:
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
        """All off, and forget who came by."""
        for file in self.folder.iterdir():
            file.unlink()

    def is_on(self, name: str) -> bool:
        return (self.folder / name).exists()

    def came_by(self, name: str) -> list[int]:
        """The ids of the processes that have called :meth:`pass_by` with this name, in no order."""
        return [int(file.suffix[1:]) for file in self.folder.glob(f"{name}.*")]

    def pass_by(self, name: str) -> None:
        (self.folder / f"{name}.{os.getpid()}").touch()


def switches() -> Switches:
    """Those of this process's environment."""
    return Switches(Path(os.environ[FOLDER]))
