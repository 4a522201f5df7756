"""What the tests of ``manage.py place_orders`` share: running the command, and reading the placed orders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from webapp.orders.models import Order

GOOD = "customer,sku,quantity\nann,TEA,2\nbob,MUG,1\nann,TEA,2\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(content: str | bytes, name: str = "orders.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


class CommandRun:
    """The exit status and the output of the command."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        self.status, refused = 0, ""
        try:
            call_command("place_orders", *words)
        except SystemExit as ended:
            self.status = int(str(ended.code))
        except CommandError as error:
            self.status, refused = error.returncode, str(error)
        self.out, err = capsys.readouterr()
        self.err = " ".join(f"{err} {refused}".split())

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandRun]:
    return lambda *words: CommandRun(capsys, *words)


def content() -> list[tuple[str, str, int, list[tuple[str, int, int]]]]:
    orders = Order.objects.prefetch_related("lines")
    by_line = sorted(orders, key=lambda order: int(order.idempotency_key.rpartition(":")[2]))
    lines = [
        [(line.product_id, line.quantity, line.amount) for line in order.lines.all()] for order in by_line
    ]
    return [(o.customer, o.currency, o.amount, found) for o, found in zip(by_line, lines, strict=True)]
