"""``manage.py seed_catalog``: goods, stock and wallets, so that orders can be placed."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webapp.ops import catalog
from webapp.orders.models import Product
from workers.inventory.seed import receive
from workers.inventory.steps import inventory
from workers.payments.seed import NewWallet, open_wallets
from workers.payments.steps import payments


class Command(BaseCommand):
    help = (
        "Fill the catalogue, the stock and the wallets up to what is asked for; again adds only what is missing. "
        f"Besides come {catalog.SCARCE} articles without stock (SCARCE-0001 …), and {catalog.TROUBLED} customers each "
        "who are poor, blocked or limited (poor-0001 …), whose payments are declined."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--products", type=int, default=50, help="articles, SKU-0001 and on (50)")
        parser.add_argument("--stock", type=int, default=1_000_000, help="units on hand of each (1000000)")
        parser.add_argument("--customers", type=int, default=100, help="customers, customer-0001 and on (100)")
        parser.add_argument("--balance", type=int, default=10**9, help="cents in each wallet (1000000000)")

    def handle(self, *_: Any, **options: Any) -> None:
        for name in ("products", "stock", "customers", "balance"):
            if options[name] < 0 or options[name] > 10**12:
                raise CommandError(f"--{name} must be from 0 to 10**12")
        goods = dict.fromkeys(catalog.skus(options["products"]), options["stock"])
        goods |= dict.fromkeys(catalog.scarce_skus(), 0)
        wallets = self._wallets(options["customers"], options["balance"])
        Product.objects.bulk_create(
            [
                Product(sku=s, name=s.replace("-", " ").title(), price=catalog.price(s), currency=catalog.CURRENCY)
                for s in goods
            ],
            ignore_conflicts=True,
        )
        with inventory.database.begin() as stock:
            units = receive(stock.db, goods)
        with payments.database.begin() as money:
            filled = open_wallets(money.db, wallets)
        if options["verbosity"]:
            self.stdout.write(
                f"{len(goods)} articles, {units} units received; {len(wallets)} customers, {filled} wallets filled up"
            )

    def _wallets(self, customers: int, balance: int) -> list[NewWallet]:
        wallet = catalog.CURRENCY
        return [
            *(NewWallet(name, wallet, balance) for name in catalog.customers("customer", customers)),
            *(NewWallet(name, wallet, 0) for name in catalog.customers("poor")),
            *(NewWallet(name, wallet, balance, blocked=True) for name in catalog.customers("blocked")),
            *(NewWallet(name, wallet, balance, order_limit=catalog.LIMIT) for name in catalog.customers("limited")),
        ]
