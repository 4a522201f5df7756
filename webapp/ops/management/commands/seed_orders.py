"""``manage.py seed_orders``: place random orders and measure how they settle."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from random import SystemRandom
from typing import Any

from django.core.management.base import CommandError
from rich.progress import Progress

from ordersaga.ids import new_id
from webapp.ops.cli import FAILED, INTERRUPTED, command
from webapp.ops.cli.command import number_between
from webapp.ops.cli.console import Console, progress_bars
from webapp.ops.cli.db_errors import explain_orders_errors
from webapp.ops.cli.graceful_stop import StopRequest, catch_interrupt
from webapp.ops.loadgen import (
    TIMEOUT,
    Catalog,
    EmptyCatalogue,
    Figures,
    Mix,
    Run,
    SettlementProgress,
    Stats,
    plan,
)
from webapp.ops.loadgen.report import as_json, show_figures
from webapp.ops.loadgen.wait import explain_waiting
from webapp.orders.exceptions import OrderError

OPEN = 1
"""The exit status when orders have not settled in time."""
MOST = 10_000_000
HELP = "Place random orders for products of the catalogue, and report how fast and how they settle."
EPILOG = """
A share is written 0.1 or 10%. The same --seed gives orders with the same content, which are placed as new
orders. Declined orders come from customers who are poor, blocked or over their limit; orders out of stock
have a line for a product without stock. Cancel requests are sent within a second after placing, so that some
are too late.

exit status:
  0    all orders were placed and, with --wait, have settled
  1    with --wait: some orders had not settled in time
  2    orders could not be placed; the message names the remedy
  130  Ctrl-C; orders that were placed continue

examples:
  manage.py seed_orders --count 1000 --wait
  manage.py seed_orders --decline 10% --out-of-stock 5% --cancel 5% --seed 7
  manage.py seed_orders --count 6000 --rate 20     for five minutes
  manage.py seed_orders --count 50000 --batch 200 --wait --timeout 600 --json
"""


def share(text: str) -> float:
    """Parse ``0.1`` or ``10%``."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a share: for a tenth write 0.1 or 10%") from None
    if not 0 <= value <= 1:
        raise ArgumentTypeError(
            f"{text!r} is not between 0 and 1 (0% and 100%): for a tenth write 0.1 or 10%"
        )
    return value


class Command(command.Command):
    help = HELP
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:

        add = parser.add_argument
        add(
            "--count",
            type=number_between(1, MOST),
            default=1000,
            metavar="N",
            help="the number of orders (1000)",
        )
        add(
            "--rate",
            type=number_between(0, 1e6, float),
            default=0.0,
            metavar="R",
            help="orders per second; 0 is as fast as possible (0)",
        )
        add(
            "--batch",
            type=number_between(1, 1000),
            default=20,
            metavar="N",
            help="the most orders in one transaction (20)",
        )
        add(
            "--decline", type=share, default=0.0, metavar="SHARE", help="orders whose payment is declined (0)"
        )
        add(
            "--out-of-stock",
            type=share,
            default=0.0,
            metavar="SHARE",
            help="orders with a line that is out of stock (0)",
        )
        add("--free", type=share, default=0.0, metavar="SHARE", help="orders that are free of charge (0)")
        add("--cancel", type=share, default=0.0, metavar="SHARE", help="orders with a cancel request (0)")
        add(
            "--seed",
            type=int,
            metavar="N",
            help="the seed of all random choices (random)",
        )
        add(
            "--customers",
            type=number_between(1, MOST),
            default=100,
            metavar="N",
            help="the number of customers that seed_catalog created (100)",
        )
        add("--wait", action="store_true", help="wait until these orders have settled")
        add(
            "--timeout",
            type=number_between(0, 1e6, float),
            metavar="SECONDS",
            help=f"how long --wait waits ({TIMEOUT:g})",
        )
        add("--json", action="store_true", help="print one JSON object instead of the table")

    def handle(self, *_: Any, **options: Any) -> None:

        seed = SystemRandom().randrange(10**6) if options["seed"] is None else options["seed"]
        mix = _mix(options)
        stop = StopRequest()
        key = f"seed-{new_id()}-"
        with catch_interrupt(stop), explain_orders_errors():
            shelf = _shelf(mix)
            with progress_bars(Console(stderr=True, quiet=options["json"])) as bars:
                seeding = _Seeding(key, bars, mix.count, follow=options["wait"], stop=stop)
                orders = plan(mix, shelf, seed=seed, run=key, customers=options["customers"])
                try:
                    seeding.run.place(orders, batch=options["batch"], rate=options["rate"])
                    if options["wait"]:
                        seeding.wait(TIMEOUT if options["timeout"] is None else options["timeout"])
                except OrderError as error:
                    raise CommandError(
                        f"{_placed(seeding.run, mix)} Then an order was refused. {error}", returncode=FAILED
                    ) from error
            figures = seeding.figures()
        if options["json"]:
            print(as_json(seeding.run, figures, seed))  # noqa: T201 - this is what was asked for
        else:
            show_figures(Console(highlight=False), seeding.run, figures, seed)
        self._end(stop, seeding.run, figures, mix, waited=options["wait"])

    def _end(self, stop: StopRequest, run: Run, figures: Figures, mix: Mix, *, waited: bool) -> None:
        console = Console(stderr=True, highlight=False)
        if stop.requested:
            console.print(f"\n  Stopped. {_placed(run, mix)} These orders continue.")
            sys.exit(INTERRUPTED)
        if waited and (left := sum(figures.open.values())):
            console.print(
                f"\n  [bold red]{left:,} of {run.placed:,} orders have not settled in time.[/] "
                f"{explain_waiting()}"
            )
            sys.exit(OPEN)


class _Seeding:
    """A run with its progress bars."""

    def __init__(self, key: str, bars: Progress, count: int, *, follow: bool, stop: StopRequest) -> None:
        self.run = Run(stop, self._show)
        self._bars = bars
        self._placing = bars.add_task("placing", total=count)
        self._following = SettlementProgress(key, bars, count, stop) if follow else None
        self._key = key

    def wait(self, seconds: float) -> None:
        """Wait until all placed orders have settled, for at most ``seconds``."""
        self._bars.update(self._placing, total=self.run.placed)
        if self._following:
            self._following.wait(self.run.first, self.run.placed, seconds)

    def figures(self) -> Figures:
        return Figures() if self.run.first is None else Stats(self._key, self.run.first).figures()

    def _show(self) -> None:
        self._bars.update(self._placing, completed=self.run.placed)
        if self._following:
            self._following.refresh(self.run.first, self.run.placed)


def _mix(options: dict[str, Any]) -> Mix:
    if options["timeout"] is not None and not options["wait"]:
        raise CommandError("--timeout needs --wait", returncode=FAILED)
    try:
        return Mix(**{name: options[name] for name in ("count", "decline", "out_of_stock", "free", "cancel")})
    except ValueError as error:
        raise CommandError(f"{error}. Reduce the shares.", returncode=FAILED) from error


def _shelf(mix: Mix) -> Catalog:
    shelf = Catalog.read()
    try:
        shelf.check(mix)
    except EmptyCatalogue as error:
        raise CommandError(f"{error} Run: manage.py seed_catalog", returncode=FAILED) from error
    return shelf


def _placed(run: Run, mix: Mix) -> str:
    return f"{run.placed:,} of {mix.count:,} orders were placed."
