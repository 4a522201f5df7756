"""``manage.py seed_catalog``: create products, stock and wallets for test orders."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Collection
from typing import Any

from django.core.management.base import CommandError

from webapp.ops import demo_data
from webapp.ops.cli import FAILED, command
from webapp.ops.cli.command import number_between
from webapp.ops.cli.console import Console, show_bar
from webapp.ops.cli.db_errors import explain_errors, explain_orders_errors
from webapp.ops.demo_data import EXAMPLES
from webapp.ops.order_import.record import FileRefused
from webapp.orders.models import Product
from workers.inventory.seed import receive
from workers.inventory.steps import inventory
from workers.payments.ledger import WalletUnfit
from workers.payments.seed import NewWallet, open_wallets
from workers.payments.steps import payments

PARTS = 3
"""Catalogue, stock and wallets: each is filled in one transaction of its database."""
MOST = 10**12
PLENTY = 1_000_000
EPILOG = f"""
It also creates {demo_data.SCARCE_ARTICLES} products without stock (SCARCE-0001 …), and
{demo_data.DECLINED_CUSTOMERS} customers of each kind whose payments are declined: poor, blocked and limited
(poor-0001 …). With --example it creates only what those orders need and ignores the other options.

exit status:
  0    everything exists
  2    a database does not answer or is not migrated, or an option is invalid; the message names the remedy
  130  Ctrl-C; run it again for the rest

examples:
  manage.py seed_catalog
  manage.py seed_catalog --products 5 --stock 100 --customers 10
  manage.py seed_catalog --example cdnow           what examples/cdnow needs
"""


class Command(command.Command):
    help = "Fill up catalogue, stock and wallets. Running it again adds only what is missing."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:

        add = parser.add_argument
        add(
            "--products",
            type=number_between(0, PLENTY),
            default=50,
            metavar="N",
            help="products SKU-0001 … (50)",
        )
        add(
            "--stock",
            type=number_between(0, MOST),
            default=1_000_000,
            metavar="N",
            help="units on hand of each product (1000000)",
        )
        add(
            "--customers",
            type=number_between(0, PLENTY),
            default=100,
            metavar="N",
            help="customers customer-0001 … (100)",
        )
        add(
            "--balance",
            type=number_between(0, MOST),
            default=10**9,
            metavar="N",
            help="cents in each wallet (1000000000)",
        )
        add(
            "--example",
            choices=sorted(EXAMPLES),
            help="create what the orders of this folder in examples/ need",
        )
        add("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:

        products, goods, wallets = _example(options["example"]) if options["example"] else _shop(options)
        with show_bar(Console(stderr=True), hidden=options["json"] or not options["verbosity"]) as under_way:
            under_way("catalogue", 0, PARTS)
            with explain_orders_errors():
                Product.objects.bulk_create(products, ignore_conflicts=True)
            under_way("stock", 1, PARTS)
            units = _stocked(goods)
            under_way("wallets", 2, PARTS)
            filled = _funded(wallets)
        if options["json"]:
            result = {"articles": len(goods), "units": units, "customers": len(wallets), "filled": filled}
            self.stdout.write(json.dumps(result))
        elif options["verbosity"]:
            self.stdout.write(
                f"{len(goods)} products, {units} units received; {len(wallets)} customers, {filled} wallets "
                f"filled up"
            )


def _shop(options: dict[str, Any]) -> tuple[list[Product], dict[str, int], list[NewWallet]]:
    goods = dict.fromkeys(demo_data.stocked_skus(options["products"]), options["stock"])
    goods |= dict.fromkeys(demo_data.scarce_skus(), 0)
    money, balance = demo_data.CURRENCY, options["balance"]
    products = [
        Product(sku=s, name=s.replace("-", " ").title(), price=demo_data.price_of(s), currency=money)
        for s in goods
    ]
    wallets = [
        *(
            NewWallet(name, money, balance)
            for name in demo_data.customer_names("customer", options["customers"])
        ),
        *(NewWallet(name, money, 0) for name in demo_data.customer_names("poor")),
        *(NewWallet(name, money, balance, blocked=True) for name in demo_data.customer_names("blocked")),
        *(
            NewWallet(name, money, balance, order_limit=demo_data.ORDER_LIMIT)
            for name in demo_data.customer_names("limited")
        ),
    ]
    return products, goods, wallets


def _example(name: str) -> tuple[list[Product], dict[str, int], list[NewWallet]]:
    try:
        needs = EXAMPLES[name]()
    except FileRefused as error:
        raise CommandError(
            f"The orders of --example {name} are missing: {error}.", returncode=FAILED
        ) from error
    product = Product(sku=needs.sku, name=needs.name, price=needs.price, currency=needs.currency)
    return [product], {needs.sku: needs.stock}, needs.wallets


def _stocked(goods: dict[str, int]) -> int:
    with explain_errors("inventory"), inventory.database.begin() as stock:
        return receive(stock.db, goods)


def _funded(wallets: Collection[NewWallet]) -> int:
    with explain_errors("payments"), payments.database.begin() as money:
        try:
            return open_wallets(money.db, wallets)
        except WalletUnfit as error:
            raise CommandError(f"Wallets exist in another currency: {error}", returncode=FAILED) from error
