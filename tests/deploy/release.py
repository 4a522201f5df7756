"""Lays out an image in a folder by the Dockerfile's COPY and RUN lines, without a container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.processes import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROGRAMS = Path(sys.executable).parent


def last_stage() -> list[str]:
    """Return the instructions of the last stage, with continued lines joined."""
    text = DOCKERFILE.rpartition("\nFROM ")[2].replace("\\\n", " ")
    return [line for line in text.splitlines()[1:] if line and not line.startswith("#")]


def environment() -> dict[str, str]:
    """Return the variables of the ENV lines, with the tests' folder of programs."""
    words = [word for line in last_stage() if line.startswith("ENV ") for word in line.split()[1:]]
    variables = dict(word.split("=", 1) for word in words)
    return {name: value.strip('"') for name, value in variables.items() if name not in {"PATH", "PYTHONPATH"}}


def process_environment(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a container's process whose /app is ``folder``."""
    return {**environment(), "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "PYTHONPATH": str(folder), **given}


def lay_out(folder: Path) -> None:
    """Copy the files of COPY and run the commands of RUN."""
    for line in last_stage():
        if copied := re.fullmatch(r"COPY (?!--from)(\S+) (\S+)", line):
            source, target = ROOT / copied[1], folder / copied[2]
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy(source, target)
        elif line.startswith("RUN sh "):
            done = subprocess.run(
                line.split()[1:],
                cwd=folder,
                env=process_environment(folder, {}),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"{line}:\n{done.stdout}{done.stderr}")
