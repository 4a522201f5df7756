"""Where PostgreSQL's and RabbitMQ's programs and Chromium are; as a script, sees to it that they are there.

``python -m tests.support.services`` installs what is missing by apt-get when run as root, else says what to install.
The packages' own services are neither started nor configured: the tests run private servers.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")  # Debian asks it before a package may start its service


def postgres_bin() -> Path | None:
    """The newest PostgreSQL's folder of programs."""
    versions = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if (p / "initdb").exists()]
    if versions:
        return max(versions, key=lambda p: [int(n) for n in re.findall(r"\d+", p.parent.name)])
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def rabbitmq_bin() -> Path | None:
    """RabbitMQ's own scripts, not Debian's wrappers around them: those insist on the user ``rabbitmq``."""
    folder = Path("/usr/lib/rabbitmq/bin")
    if (folder / "rabbitmq-server").exists():
        return folder
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve().parent if found else None


def epmd() -> Path | None:
    """Erlang's port mapper daemon."""
    found = shutil.which("epmd")
    candidates = [Path(found)] if found else sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))
    return candidates[-1] if candidates else None


def chromium() -> Path | None:
    """Chromium or Chrome, whatever its name: on PATH, or where Playwright itself has put one."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return Path(found)
    kept = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return max(kept.glob("chromium-*/chrome-linux*/chrome"), default=None)


def missing() -> list[str]:
    """The Debian packages that would bring what is not there."""
    there = {"postgresql": postgres_bin(), "rabbitmq-server": rabbitmq_bin() and epmd(), "chromium": chromium()}
    return [package for package, found in there.items() if not found]


@contextlib.contextmanager
def no_service_starts() -> Iterator[None]:
    """While it lasts, packages being installed may not start services."""
    if POLICY.exists():  # the machine has its own policy: leave it
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def install(packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0"]
    with no_service_starts():
        subprocess.run([*apt, "update"], check=True, env=environment)
        subprocess.run([*apt, "install", "--no-install-recommends", *packages], check=True, env=environment)


def main() -> int:
    packages = missing()
    if not packages:
        return 0
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        say(
            f"the tests start private PostgreSQL and RabbitMQ servers and a browser; of these {names} is not here.\n"
            f"On Debian and Ubuntu: sudo apt-get install {names}\n"
            "Elsewhere: install PostgreSQL (15 or newer), RabbitMQ (3.10 or newer) and Chromium or Chrome, and put initdb,\n"
            "rabbitmq-server, epmd and chromium or google-chrome on PATH."
        )
        return 1
    say(f"installing {names}")
    try:
        install(packages)
    except subprocess.CalledProcessError as error:
        say(f"apt-get could not install {names} (exit status {error.returncode}).")
        return 1
    if still := missing():
        say(f"installed, and yet not found: {' '.join(still)}.")
        return 1
    return 0


def say(text: str) -> None:
    sys.stderr.write(f"OrderSaga: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
