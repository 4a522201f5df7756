"""``manage.py import_products``: bring the catalogue to a list of products."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from webapp.ops.cli import FAILED, command
from webapp.ops.cli.console import Console, escape_unprintable
from webapp.ops.cli.db_errors import explain_orders_errors
from webapp.ops.order_import.record import FileRefused
from webapp.ops.order_import.source import FORMAT_OF_SUFFIX, STDIN, guess_format, open_source
from webapp.ops.product_import import read_products
from webapp.orders.catalogue import Changes, update_catalogue

FORMATS = sorted(set(FORMAT_OF_SUFFIX.values()))
SHOWN = 20
"""Bad lines that are named; the rest is counted."""
EPILOG = """
The whole file is read first. If one line is bad, the bad lines are named and nothing is written. Products
that the file does not name stay as they are. A new price applies to orders that are placed afterwards. A
product that is not active cannot be ordered any more; it stays in old orders.

formats, both UTF-8:
  csv    the first line names the columns: sku,name,price and, optionally, currency,active
           sku       1 to 64 letters, digits and . _ -
           price     for one, in minor units: 450 is 4.50 EUR (see --decimal-prices)
           currency  a code such as EUR, the default
           active    yes or no; yes is the default
  jsonl  one object a line:
           {"sku": "TEA", "name": "Tea", "price": 450, "currency": "EUR", "active": true}

exit status:
  0    the catalogue has these products
  2    the file was refused, or the database failed; the message says what to do

examples:
  manage.py import_products products.csv --dry-run
  manage.py import_products products.csv --decimal-prices
  cat products.jsonl | manage.py import_products - --format jsonl --json
"""


class Command(command.Command):
    help = "Add the products of a file to the catalogue, and change those that differ."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options."""
        add = parser.add_argument
        add("file", metavar="FILE|-", help="the file, or - for standard input")
        add(
            "--format",
            choices=FORMATS,
            help="by default the file name's ending tells it: .csv, .jsonl or .ndjson",
        )
        add("--decimal-prices", action="store_true", help="prices are in units of the currency, such as 4.50")
        add("--dry-run", action="store_true", help="read and compare, write nothing")
        add("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        """Read the whole file, then write."""
        file = options["file"]
        try:
            file_format = options["format"] or guess_format(file)
            with open_source(file) as source:
                read = read_products(source.lines(), file_format, decimal_prices=options["decimal_prices"])
        except FileRefused as error:
            name = "standard input" if file == STDIN else escape_unprintable(file) or "FILE"
            raise CommandError(f"{name} {error}.", returncode=FAILED) from error
        if read.faults:
            if options["json"]:
                faults = [fault._asdict() for fault in read.faults]
                self.stdout.write(
                    json.dumps({"written": False, "bad": len(faults), "faults": faults[:SHOWN]})
                )
            for fault in read.faults[:SHOWN]:
                self.stderr.write(str(fault))
            if (more := len(read.faults) - SHOWN) > 0:
                self.stderr.write(f"… and {more:,} more")
            count = "One line is bad" if len(read.faults) == 1 else f"{len(read.faults):,} lines are bad"
            self.stderr.write(
                f"{count}, and nothing was written. Correct the file and run the command again."
            )
            sys.exit(FAILED)
        with explain_orders_errors():
            changes = update_catalogue(read.products, dry_run=options["dry_run"])
        if options["json"]:
            self.stdout.write(json.dumps({"written": not options["dry_run"], **changes._asdict()}))
        else:
            _show(changes, dry_run=options["dry_run"])


def _show(changes: Changes, *, dry_run: bool) -> None:
    console = Console(highlight=False)
    console.print(f"  {changes.new:,} new, {changes.changed:,} changed, {changes.unchanged:,} unchanged")
    if changes.examples:
        more = changes.new + changes.changed - len(changes.examples)
        console.print(f"  {', '.join(changes.examples)}{f' and {more:,} more' if more else ''}")
    if dry_run:
        console.print("  Nothing was written (--dry-run).")
