"""``python -m ordersaga.embedded``: databases and a broker for a saga of one's own."""

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
      makes or starts the server whose data is in .postgres, and sets DESK_DATABASE_URL, HOTEL_DATABASE_URL
      and ORDERSAGA_BROKER_URL
  python -m ordersaga.embedded stop .postgres
      ends it; the data stays
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, 1 when the server cannot be had (the reason on stderr), 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m ordersaga.embedded",
        description="PostgreSQL for development and tests: no port, only a socket that its own user may open.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="start|stop")
    starting = commands.add_parser("start", help="print the addresses as variables for a shell")
    starting.add_argument("folder", type=Path, help="where the server keeps its data")
    starting.add_argument(
        "participants", nargs="+", type=_name, help="each gets a database and a role of its name"
    )
    starting.set_defaults(act=lambda given: _start(given.folder, given.participants))
    stopping = commands.add_parser("stop", help="end the server, its data stays")
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
"""Not ``BROKER_URL``: Celery's command line takes that one for its own, and cannot read a
socket's address.
"""


def _start(folder: Path, names: Sequence[str]) -> None:
    for role, url in start(folder, {name: name for name in names}).urls.items():
        variable = BROKER_VARIABLE if role == BROKER else f"{role.upper()}_DATABASE_URL"
        sys.stdout.write(f"export {variable}='{url}'\n")


def _name(text: str) -> str:
    if text in {BROKER, SUPERUSER}:
        raise argparse.ArgumentTypeError(f"{text!r} is taken, the server itself uses it: choose another name")
    if not NAME.match(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be a participant: use lower-case letters, digits and _"
        )
    return text


if __name__ == "__main__":
    sys.exit(main())
