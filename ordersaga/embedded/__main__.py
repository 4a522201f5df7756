"""``python -m ordersaga.embedded``: start and stop databases and a broker for development."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ordersaga.embedded.postmaster import EmbeddedError
from ordersaga.embedded.server import BROKER, SUPERUSER, start, stop
from ordersaga.participant import NAME

EXAMPLE = """
examples:
  eval "$(python -m ordersaga.embedded start .postgres desk hotel)"
      creates or starts the server with its data in .postgres, and sets DESK_DATABASE_URL, HOTEL_DATABASE_URL
      and ORDERSAGA_BROKER_URL
  python -m ordersaga.embedded stop .postgres
      stops it and keeps the data
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, or 1 when the server cannot start (reason on stderr); exit with 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m ordersaga.embedded",
        description="PostgreSQL for development and tests, on a socket that only its user may open.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="start|stop")
    starting = commands.add_parser("start", help="start the server and print its URLs as shell variables")
    starting.add_argument("folder", type=Path, help="the server's data folder")
    starting.add_argument(
        "participants", nargs="+", type=_name, help="names of the databases and roles to create"
    )
    starting.set_defaults(act=lambda given: _start(given.folder, given.participants))
    stopping = commands.add_parser("stop", help="stop the server and keep its data")
    stopping.add_argument("folder", type=Path)
    stopping.set_defaults(act=lambda given: stop(given.folder))
    given = parser.parse_args(arguments)
    try:
        given.act(given)
    except (EmbeddedError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


BROKER_VARIABLE = "ORDERSAGA_BROKER_URL"
"""Not ``BROKER_URL``, which Celery's command line reads and cannot parse with a socket."""


def _start(folder: Path, names: Sequence[str]) -> None:
    for role, url in start(folder, {name: name for name in names}).urls.items():
        variable = BROKER_VARIABLE if role == BROKER else f"{role.upper()}_DATABASE_URL"
        sys.stdout.write(f"export {variable}='{url}'\n")


def _name(text: str) -> str:
    if text in {BROKER, SUPERUSER}:
        raise argparse.ArgumentTypeError(f"{text!r} is taken by the server: choose another name")
    if not NAME.match(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a valid name of a participant: use lower-case characters, digits and _"
        )
    return text


if __name__ == "__main__":
    sys.exit(main())
