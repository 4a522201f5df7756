from __future__ import annotations

import re
from pathlib import Path

import psycopg2
import pytest

from tests.support.in_process import InProcessSagas, deliver_all, to
from tests.support.polling import eventually
from tests.support.processes import ROOT

USES = re.compile(r"pg_(?:try_)?advisory\w*")
EMBEDDED_BROKER = ROOT / "ordersaga/celery/pgmq"
"""It takes an advisory lock on a separate connection to mark a listener; the lock guards no data."""


def test_every_advisory_lock_ends_with_its_transaction() -> None:
    folders = ("ordersaga", "workers", "webapp")
    files = [f for folder in folders for f in Path(ROOT, folder).rglob("*") if f.suffix in {".py", ".sql"}]
    used = {word for f in files if EMBEDDED_BROKER not in f.parents for word in USES.findall(f.read_text())}

    assert used == {"pg_advisory_xact_lock"}


def test_no_advisory_lock_is_left_after_the_commit(in_process: InProcessSagas) -> None:
    saga = in_process.factory.place("TEA", "MUG", "HAT")
    in_process.rehearsal().run()

    in_process.probe.wait_until_confirmed([saga], timeout=0)
    held = """
        SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database
        WHERE locktype = 'advisory' AND datname = current_database()
    """
    eventually(lambda: not in_process.probe.query("inventory", held), 5, "no advisory lock")


def test_a_constraint_backs_the_advisory_lock(in_process: InProcessSagas) -> None:
    in_process.factory.add_product("ONE", 1)
    in_process.factory.place("ONE")
    deliver_all(in_process.rehearsal(), but=to("payments"))

    with pytest.raises(psycopg2.errors.CheckViolation):
        in_process.probe.query(
            "inventory", "UPDATE product SET on_hand = on_hand - 1, held = held + 1 WHERE sku = 'ONE'"
        )
