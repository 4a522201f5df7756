from __future__ import annotations

import re
from pathlib import Path

import psycopg2
import pytest

from tests.support.in_process import Theatre, deliver_all, to
from tests.support.polling import eventually
from tests.support.processes import ROOT

USES = re.compile(r"pg_(?:try_)?advisory\w*")
EMBEDDED_BROKER = ROOT / "ordersaga/celery/pgmq"
"""Marks there, on a connection of its own, that somebody listens; no data is guarded by it."""


def test_every_lock_in_the_sources_goes_with_its_transaction() -> None:
    folders = ("ordersaga", "workers", "webapp")
    files = [f for folder in folders for f in Path(ROOT, folder).rglob("*") if f.suffix in {".py", ".sql"}]
    used = {word for f in files if EMBEDDED_BROKER not in f.parents for word in USES.findall(f.read_text())}

    assert used == {"pg_advisory_xact_lock"}


def test_none_is_left_after_the_commit(theatre: Theatre) -> None:
    saga = theatre.shop.place("TEA", "MUG", "HAT")
    theatre.rehearsal().run()

    theatre.books.all_confirmed([saga], timeout=0)
    held = """
        SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database
        WHERE locktype = 'advisory' AND datname = current_database()
    """
    eventually(lambda: not theatre.books.ask("inventory", held), 5, "no advisory lock")


def test_behind_the_lock_stands_a_constraint(theatre: Theatre) -> None:
    theatre.shop.stock("ONE", 1)
    theatre.shop.place("ONE")
    deliver_all(theatre.rehearsal(), but=to("payments"))

    with pytest.raises(psycopg2.errors.CheckViolation):
        theatre.books.ask(
            "inventory", "UPDATE product SET on_hand = on_hand - 1, held = held + 1 WHERE sku = 'ONE'"
        )
