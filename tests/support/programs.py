"""Finds the programs of PostgreSQL, PgBouncer, RabbitMQ, iproute2 and Chromium, and installs missing ones.

``python -m tests.support.programs`` installs missing packages by apt-get as root, and otherwise names them.
It neither starts nor configures their services, because the tests run private servers.

Other versions: the variables ``TESTS_POSTGRES`` and ``TESTS_RABBITMQ`` (pytest's options ``--postgres`` and
``--rabbitmq``) name a directory of programs, or the root directory of a Debian system that ``python -m
tests.support.debian_root`` has created.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

POSTGRES, RABBITMQ = "TESTS_POSTGRES", "TESTS_RABBITMQ"
"""Environment variables that name other programs than the installed ones."""
# In its own mount namespace: the mounts end with the process, and a folder in /tmp has the same path inside
# and outside.
IN_ROOT = 'for d in proc dev tmp; do mount --rbind "/$d" "$0/$d" || exit 1; done; exec chroot "$@"'

POLICY = Path("/usr/sbin/policy-rc.d")  # Debian calls it before a package starts its service


@dataclass(frozen=True)
class Programs:
    """A directory of programs.

    :ivar root: the root directory in which they run (``chroot``) and to which ``directory`` is relative; None
        for this machine.
    """

    directory: Path
    root: Path | None = None

    @classmethod
    def at(cls, given: Path, *, inside: str) -> Programs:
        """Return the programs at ``given``: their directory, or a root directory in which they match
        ``inside``.
        """
        given = given.resolve()
        root = next(
            (
                p
                for p in (given, *given.parents)
                if p != Path("/") and (p / "etc" / "debian_version").exists()
            ),
            None,
        )
        if root is None:
            return cls(given)
        directory = _newest(root.glob(inside)) if given == root else given
        if directory is None:
            raise RuntimeError(f"{given} has no {inside}")
        return cls(Path("/") / directory.relative_to(root), root)

    def argv(
        self, name: str | Path, *arguments: str | Path, account: tuple[int, int] | None = None
    ) -> list[str | Path]:
        """Return the command that runs a program; ``name`` may be an absolute path.

        :param account: the user and group ids to run as, if there is a root directory.
        """
        program = self.directory / name
        if self.root is None:
            return [program, *arguments]
        user: list[str | Path] = ["--userspec={}:{}".format(*account)] if account else []
        enter: list[str | Path] = [
            "unshare",
            "--mount",
            "--propagation=private",
            "--",
            "sh",
            "-c",
            IN_ROOT,
            self.root,
        ]
        return [*enter, *user, self.root, program, *arguments]

    def exists(self, path: str) -> bool:
        """Return whether an absolute path is a file."""
        return Path(self.root or "/", path.removeprefix("/")).exists()


def _newest(directories: Iterator[Path]) -> Path | None:
    return max(directories, key=lambda p: [int(n) for n in re.findall(r"\d+", p.parent.name)], default=None)


def postgres_programs() -> Programs | None:
    """Return PostgreSQL's programs: those of ``TESTS_POSTGRES``, or the newest installed ones."""
    if given := os.environ.get(POSTGRES):
        return Programs.at(Path(given), inside="usr/lib/postgresql/*/bin")
    found = postgres_bin()
    return Programs(found) if found else None


def rabbitmq_programs() -> Programs | None:
    """Return RabbitMQ's programs: those of ``TESTS_RABBITMQ``, or the installed ones."""
    if given := os.environ.get(RABBITMQ):
        return Programs.at(Path(given), inside="usr/lib/rabbitmq/bin")
    found = rabbitmq_bin()
    return Programs(found) if found else None


def postgres_bin() -> Path | None:
    """Return the directory of the newest PostgreSQL's programs."""
    if newest := _newest(p for p in Path("/usr/lib/postgresql").glob("*/bin") if (p / "initdb").exists()):
        return newest
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def rabbitmq_bin() -> Path | None:
    """Return the directory of RabbitMQ's scripts, without Debian's wrappers, which require the user
    ``rabbitmq``.
    """
    folder = Path("/usr/lib/rabbitmq/bin")
    if (folder / "rabbitmq-server").exists():
        return folder
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve().parent if found else None


def epmd() -> Path | None:
    """Return Erlang's port mapper daemon."""
    found = shutil.which("epmd")
    candidates = [Path(found)] if found else sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))
    return candidates[-1] if candidates else None


def pgbouncer() -> Path | None:
    """Return PgBouncer, which Debian installs into a directory on root's PATH."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    return Path(found) if found else None


def ip() -> Path | None:
    """Return iproute2's program, by which a test drops packets between its processes."""
    found = shutil.which("ip", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    return Path(found) if found else None


def chromium() -> Path | None:
    """Return Chromium or Chrome by any of its names, on PATH or where Playwright installs one."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return Path(found)
    kept = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return max(kept.glob("chromium-*/chrome-linux*/chrome"), default=None)


def missing() -> list[str]:
    """Return the Debian packages of the missing programs."""
    there = {
        "postgresql": postgres_bin(),
        "pgbouncer": pgbouncer(),
        "rabbitmq-server": rabbitmq_bin() and epmd(),
        "iproute2": ip(),
        "chromium": chromium(),
    }
    return [package for package, found in there.items() if not found]


@contextlib.contextmanager
def no_service_starts() -> Iterator[None]:
    """Prevent packages from starting services while they are installed."""
    if POLICY.exists():  # the machine has its own policy: keep it
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
            "The tests start private PostgreSQL, PgBouncer and RabbitMQ servers and a browser.\n"
            f"Not installed: {names}\n"
            f"On Debian and Ubuntu: sudo apt-get install {names}\n"
            "Elsewhere: install PostgreSQL (15 or newer), PgBouncer (1.18 or newer),\n"
            "RabbitMQ (3.10 or newer) and Chromium or Chrome, and put initdb, pgbouncer, rabbitmq-server,\n"
            "epmd and chromium or google-chrome on PATH."
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
