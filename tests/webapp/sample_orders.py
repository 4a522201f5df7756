"""Creates products and orders by Django, and reads what placing has written."""

from __future__ import annotations

from typing import Any

from django.db import connection

from webapp.orders.models import Order, OrderLine, Product, Saga
from webapp.orders.pricing import Item
from webapp.orders.services import place_order


def create_products() -> None:
    Product.objects.bulk_create(
        [
            Product(sku="TEA", name="Tea", price=450, currency="EUR"),
            Product(sku="MUG", name="Mug", price=1200, currency="EUR"),
            Product(sku="FREE", name="Sample", price=0, currency="EUR"),
            Product(sku="HAT", name="Hat", price=2500, currency="GBP"),
            Product(sku="GOLD", name="Gold", price=10**12, currency="EUR"),
        ]
    )


def place(**changed: Any) -> Order:
    wanted = {
        "customer": "ann",
        "lines": [Item("TEA", 2), Item("MUG", 1)],
        "idempotency_key": "k1",
        **changed,
    }
    return place_order(**wanted)


def emitted_topics() -> list[str]:
    """Return the topics of the signals in the outbox, in order."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT topic FROM ordersaga_outbox WHERE kind = 'said' ORDER BY id")
        return [topic for (topic,) in cursor.fetchall()]


def nothing_is_written() -> bool:
    return not (
        Order.objects.exists() or Saga.objects.exists() or OrderLine.objects.exists() or emitted_topics()
    )
