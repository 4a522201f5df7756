"""``manage.py demo``: run the complete system on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from webapp.ops.cli import command
from webapp.ops.cli.command import number_between

EPILOG = """
--json implies --exit. The object says whether the result is clean or what failed, how the orders settled (as
seed_orders --json), what reconcile found (as reconcile --json), and how long each step took. Other output
goes to standard error.

All servers listen on the loopback, and all files are below .run/. To use your own servers, set BROKER, or
ORDERSAGA_ORDERS_DATABASE_URL, ORDERSAGA_INVENTORY_DATABASE_URL and ORDERSAGA_PAYMENTS_DATABASE_URL.

exit status:
  0    every order has settled, and the databases agree
  1    some order has not settled, the databases disagree, or a step failed; the message names the remedy
  130  Ctrl-C before the result was known

examples:
  manage.py demo
  manage.py demo --exit --orders 200
  manage.py demo --json | jq .orders.settled_per_second
  BROKER=amqp://me:secret@127.0.0.1:5672/demo make demo
"""


class Command(command.Command):
    help = "Start servers, pools and the admin, run orders, reconcile the databases, and wait for Ctrl-C."
    epilog = EPILOG

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:

        parser.add_argument(
            "--exit",
            action="store_true",
            help="end once the orders have settled and the databases are reconciled",
        )
        parser.add_argument(
            "--orders",
            type=number_between(1, 1_000_000),
            default=1000,
            metavar="N",
            help="the number of orders (1000)",
        )
        parser.add_argument(
            "--seed", type=int, default=7, metavar="N", help="the seed of all random choices (7)"
        )
        parser.add_argument(
            "--folder", type=Path, metavar="FOLDER", help="the folder of data and logs (.run)"
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="print one JSON object at the end (implies --exit)",
        )
        parser.add_argument(
            "--since", type=float, help=argparse.SUPPRESS
        )  # the start of make, for the elapsed time

    def handle(self, *_: Any, **options: Any) -> None:

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
