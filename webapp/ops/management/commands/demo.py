"""``manage.py demo``: the whole house on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from webapp.ops.cli import command
from webapp.ops.cli.command import number_between

EPILOG = """
With --json it ends by itself, as with --exit: an object that comes after Ctrl-C would reach no script. It tells whether all
is clean, else what was at fault; how the orders settled (as seed_orders --json), what the auditor found (as reconcile
--json), and how long each step took. The rest is said on standard error.

Everything is bound to the loopback and lies under .run/. Servers of your own are used where they are named, in BROKER
and in ORDERSAGA_ORDERS_DATABASE_URL and its two sisters.

exit status:
  0    every order has settled, and the books agree
  1    not so, or something failed: the message says what to do
  130  Ctrl-C before that was known

examples:
  manage.py demo
  manage.py demo --exit --orders 200
  manage.py demo --json | jq .orders.settled_per_second
  BROKER=amqp://me:secret@127.0.0.1:5672/demo make demo
"""


class Command(command.Command):
    help = "Start servers, pools and pages, run orders, compare the books, and stay until Ctrl-C."
    epilog = EPILOG

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The options."""
        parser.add_argument(
            "--exit", action="store_true", help="end when the orders have settled and the books are compared"
        )
        parser.add_argument(
            "--orders", type=number_between(1, 1_000_000), default=1000, metavar="N", help="how many (1000)"
        )
        parser.add_argument("--seed", type=int, default=7, metavar="N", help="decides all that is random (7)")
        parser.add_argument(
            "--folder", type=Path, metavar="FOLDER", help="where data and logs are kept (.run)"
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="print one JSON object in the end, and nothing else (implies --exit)",
        )
        parser.add_argument("--since", type=float, help=argparse.SUPPRESS)  # when make began, for the clock

    def handle(self, *_: Any, **options: Any) -> None:
        """Play."""
        try:
            from webapp.ops.demo.paths import Paths
            from webapp.ops.demo.runner import Demo
        except ModuleNotFoundError as absent:
            what = f"The demo needs {absent.name}, which an installation for production leaves out"
            raise CommandError(f"{what}. Run it from a clone: make demo") from absent
        paths = Paths(options["folder"].absolute()) if options["folder"] else Paths()
        as_json, stay = options["json"], not (options["exit"] or options["json"])
        given = {name: options[name] for name in ("orders", "seed", "since")}
        demo = Demo(paths, stay=stay, as_json=as_json, **given)
        status = demo.run()
        if as_json:
            self.stdout.write(demo.as_json())
        sys.exit(status)
