"""The entry point of ``manage.py``: runs a command and maps errors to messages and exit statuses.

Only faults of this program print a traceback. Ctrl-C, a closed pipe, invalid settings and a database that
is unreachable or not migrated print one line, for Django's commands too.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any

from webapp.ops.cli import CLOSED, FAILED, INTERRUPTED


def run_command(argv: list[str]) -> int:
    """Run the command of ``argv``; return its exit status."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    loading = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if (
        loading
    ):  # while modules load, Ctrl-C may end the process at once; some imports swallow KeyboardInterrupt
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
        message = None if "--traceback" in argv else _explain(error)
        if message is None:
            raise
        return _exit_with(*message)
    return 0


def _execute(argv: list[str], *, listening: bool) -> None:
    from django.core.management import ManagementUtility

    class Utility(ManagementUtility):
        """Django's utility, but Ctrl-C raises KeyboardInterrupt once the command is loaded."""

        def fetch_command(self, subcommand: str) -> Any:
            command = super().fetch_command(subcommand)
            if listening:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            return command

    Utility(argv).execute()


def _explain(error: Exception) -> tuple[str, int] | None:
    """Return the message and status of an error that is not a fault of the program."""
    from django.core.management.base import CommandError

    from ordersaga.errors import ConfigurationError
    from webapp.ops.cli.db_errors import explain_orders_errors

    if isinstance(error, ConfigurationError):  # its message names the variable and the remedy
        return str(error), FAILED
    with suppress(Exception):
        try:
            with explain_orders_errors():
                raise error
        except CommandError as explained:
            return str(explained), explained.returncode
    return None


def _exit_with(text: str, status: int) -> int:
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
    return status


def _discard_output() -> None:
    """Redirect standard output to /dev/null, because the interpreter flushes it once more at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
