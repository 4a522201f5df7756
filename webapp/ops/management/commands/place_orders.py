"""``manage.py place_orders``: place the orders of a file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from rich.progress import Progress

from webapp.ops.cli import FAILED, INTERRUPTED, command
from webapp.ops.cli.command import number_between
from webapp.ops.cli.console import Console, escape_unprintable, progress_bars
from webapp.ops.cli.db_errors import explain_orders_errors
from webapp.ops.cli.graceful_stop import StopRequest, catch_interrupt
from webapp.ops.loadgen import TIMEOUT, Figures, SettlementProgress, Stats
from webapp.ops.loadgen.wait import explain_waiting
from webapp.ops.order_import.load import LineRefused, Loader
from webapp.ops.order_import.record import FileRefused, order_key
from webapp.ops.order_import.report import as_json, show_faults, show_result
from webapp.ops.order_import.source import READERS, STDIN, guess_format, open_source
from webapp.ops.order_import.validate import BATCH_SIZE, Findings, Job, validate

INCOMPLETE = 1
"""The exit status when orders of the file are missing or have not settled."""
LONGEST_NAME = 100
AGAIN = "Run the same command again: it places the missing orders, and none twice."
HELP = "Place the orders of a file. Each order is placed once, even if the command runs again."
EPILOG = """
The file is read twice. The first pass validates every line; if one is bad, nothing is placed (unless
--skip-bad). The second pass places the orders, some hundred in each transaction. An order is identified by
its batch and line: the same file places nothing twice, and two equal lines are two orders. The batch is the
SHA-256 of the content unless --batch names it; then lines that were placed must not change. Memory use does
not depend on the length of the file.

formats, all UTF-8; money is in minor units (900 is 9.00 EUR):
  csv    the first line names the columns: customer,sku,quantity and, optionally,
         amount,currency,order
           customer  the customer's key: letters, digits and . _ : -
           sku       a SKU of the catalogue; once in each order
           quantity  1 to 10000
           amount    for the whole line, instead of price x quantity
           currency  EUR unless given
           order     consecutive rows with the same value are one order; without
                     this column each row is an order
  jsonl  one object per line; currency and amount are optional:
           {"customer": "c-1", "currency": "EUR",
            "lines": [{"sku": "TEA", "quantity": 2, "amount": 900}]}
  cdnow  the sample in examples/cdnow: customer, number, date, number of CDs,
         total in dollars, separated by blanks

exit status:
  0    every order of the file is placed and, with --wait, has settled
  1    bad lines were skipped (--skip-bad) or, with --wait, orders have not settled in time
  2    the file was refused, or the command failed; the message names the remedy
  130  Ctrl-C; committed orders are kept, run the same command again to continue

examples:
  manage.py place_orders orders.csv
  manage.py place_orders orders.jsonl --batch monday --wait --timeout 600
  zcat orders.csv.gz | manage.py place_orders - --format csv --skip-bad --json
  manage.py place_orders examples/cdnow/cdnow_sample.txt --format cdnow --wait
"""


class Command(command.Command):
    help = HELP
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:

        add = parser.add_argument
        add("file", metavar="FILE|-", help="the file, or - for standard input")
        add(
            "--format",
            choices=sorted(READERS),
            help="the format; by default given by the suffix .csv, .jsonl or .ndjson",
        )
        add(
            "--batch",
            metavar="NAME",
            help="the name that identifies these orders (the SHA-256 of the content)",
        )
        add("--skip-bad", action="store_true", help="place the valid orders and skip the bad lines")
        add(
            "--at-once",
            type=number_between(1, 1000),
            default=BATCH_SIZE,
            metavar="N",
            help=f"orders in each transaction ({BATCH_SIZE})",
        )
        add("--wait", action="store_true", help="wait until these orders have settled")
        add(
            "--timeout",
            type=number_between(0, 1e6, float),
            metavar="SECONDS",
            help=f"how long --wait waits ({TIMEOUT:g})",
        )
        add("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:

        if options["timeout"] is not None and not options["wait"]:
            raise CommandError("--timeout needs --wait", returncode=FAILED)
        batch = options["batch"]
        if batch is not None and not (0 < len(batch) <= LONGEST_NAME and batch.isprintable()):
            raise CommandError(f"--batch: use 1 to {LONGEST_NAME} printable characters", returncode=FAILED)
        stop = StopRequest()
        with _named(options["file"]), explain_orders_errors():
            name = options["format"] or guess_format(options["file"])
            if options["file"] == STDIN and sys.stdin.isatty():
                self.stderr.write("Reading standard input until Ctrl-D.")
            with _or_nothing(), open_source(options["file"]) as source:
                run = _Import(Job(source, READERS[name], batch or source.digest), stop, options)
                with catch_interrupt(stop):
                    run.go()
        if status := run.end():
            sys.exit(status)


class _Import:
    """One import: validate the file, place its orders, wait, report."""

    def __init__(self, job: Job, stop: StopRequest, options: dict[str, Any]) -> None:
        self.job, self._stop, self._options = job, stop, options
        self._console = Console(stderr=True, highlight=False)
        self.findings = Findings()
        self.placing = Loader(job, stop)
        self.figures: Figures | None = None

    def go(self) -> None:
        with progress_bars(Console(stderr=True, quiet=self._options["json"])) as bars:
            checking = bars.add_task("checked", total=None)
            self.findings = validate(
                self.job, self._stop, lambda count: bars.update(checking, completed=count)
            )
            if self._stop.requested or self._refused:
                return
            if not self.findings.good and not self.findings.bad:
                raise FileRefused("contains no order")
            bars.remove_task(checking)
            self._place(bars)

    @property
    def _refused(self) -> bool:
        return bool(self.findings.bad) and not self._options["skip_bad"]

    def _place(self, bars: Progress) -> None:
        count, prefix = self.findings.good, order_key(self.job.batch, "")
        bar = bars.add_task("placing", total=count)
        following = SettlementProgress(prefix, bars, count, self._stop) if self._options["wait"] else None

        def show_placed() -> None:
            done = placing.placed + placing.before
            bars.update(bar, completed=done)
            if following:
                following.refresh(placing.first, done)

        self.placing = placing = Loader(self.job, self._stop, show_placed, skip_bad=self._options["skip_bad"])
        try:
            placing.run(self._options["at_once"])
        except LineRefused as error:
            raise CommandError(
                f"{self._so_far} Then an order was refused. {error} {AGAIN}", returncode=FAILED
            ) from error
        if following and not self._stop.requested:
            timeout = TIMEOUT if self._options["timeout"] is None else self._options["timeout"]
            following.wait(placing.first, placing.placed + placing.before, timeout)
        if following and placing.first is not None:
            self.figures = Stats(prefix, placing.first).figures()

    def end(self) -> int:
        """Print the result; return the exit status."""
        ended = "interrupted" if self._stop.requested else "refused" if self._refused else "placed"
        if self._options["json"]:
            print(as_json(self.job, self.findings, self.placing, self.figures, ended=ended))  # noqa: T201 - output
        elif ended == "placed":
            show_result(Console(highlight=False), self.job, self.findings, self.placing, self.figures)
        if self.findings.bad:
            show_faults(self._console, self.findings)
        if self._stop.requested:
            self._console.print(f"  Stopped. {self._so_far} {AGAIN}")
            return INTERRUPTED
        if self._refused:
            count = "One line is" if self.findings.bad == 1 else f"{self.findings.bad:,} lines are"
            self._console.print(
                f"  [bold red]{count} bad, and nothing was placed.[/] Correct the file, or use --skip-bad."
            )
            return FAILED
        if self.figures and (left := sum(self.figures.open.values())):
            self._console.print(
                f"  [bold red]{left:,} of {self.figures.placed:,} orders have not settled in time.[/] "
                f"{explain_waiting()}"
            )
            return INCOMPLETE
        return INCOMPLETE if self.placing.skipped else 0

    @property
    def _so_far(self) -> str:
        done = self.placing.placed + self.placing.before
        return f"{done:,} of {self.findings.good:,} orders are placed." if done else "Nothing was placed."


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Turn ``FileRefused`` into CommandError with the name of the file."""
    try:
        yield
    except FileRefused as error:
        name = "standard input" if file == STDIN else escape_unprintable(file) or "FILE"
        raise CommandError(f"{name} {error}.", returncode=FAILED) from error


@contextmanager
def _or_nothing() -> Iterator[None]:
    """Exit on a Ctrl-C before the first pass, or on a second Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True).print(f"  Stopped. Committed orders are kept. {AGAIN}")
        sys.exit(INTERRUPTED)
