"""The way into ``manage.py``: how a command ends when it does not end by itself.

A traceback is for faults of this program. Ctrl-C, a reader who has left, settings that are refused, and a
database that is away or not migrated are none: each is told in a line and ends with a status of its own, for
Django's commands as for ours.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any

FAILED, INTERRUPTED, CLOSED = 2, 130, 141
"""It could not do its work; Ctrl-C; nobody reads its output any more. The last two are 128 and the signal, as
in a shell.
"""


def run_command(argv: list[str]) -> int:
    """Run the command of ``argv``; its exit status."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    loading = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if loading:  # nothing has begun yet that Ctrl-C could leave half done, and imports swallow what it raises
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        try:
            _execute(argv, listening=loading)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _exit_with("Stopped.", INTERRUPTED)
    except BrokenPipeError:
        _discard_output()
        return CLOSED
    except Exception as error:
        told = None if "--traceback" in argv else _explain(error)
        if told is None:
            raise
        return _exit_with(*told)
    return 0


def _execute(argv: list[str], *, listening: bool) -> None:
    from django.core.management import ManagementUtility

    class Utility(ManagementUtility):
        """Django's own, which lets Ctrl-C in once the command is loaded."""

        def fetch_command(self, subcommand: str) -> Any:
            command = super().fetch_command(subcommand)
            if listening:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            return command

    Utility(argv).execute()


def _explain(error: Exception) -> tuple[str, int] | None:
    """The message and status of what is no fault of the program."""
    from django.core.management.base import CommandError

    from ordersaga.errors import ConfigurationError
    from webapp.ops.cli.db_errors import explain_orders_errors

    if isinstance(error, ConfigurationError):  # the message says which variable, and what to do
        return str(error), FAILED
    with suppress(Exception):
        try:
            with explain_orders_errors():
                raise error
        except CommandError as told:
            return str(told), told.returncode
    return None


def _exit_with(text: str, status: int) -> int:
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
    return status


def _discard_output() -> None:
    """The interpreter would try once more to write what is left, and complain."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
