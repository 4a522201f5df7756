"""Places the real orders of ``examples/cdnow`` by the command while pool processes are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.chaos import ProcessKiller
from tests.support.db_probe import DatabaseProbe
from tests.support.pools import Pools
from tests.support.processes import ROOT
from tests.support.time_scale import scaled

FILE = Path(ROOT, "examples", "cdnow", "cdnow_sample.txt")
FUNDED = 24_409_194
"""The sum of all wallets at the start, in cents."""


class Workload(NamedTuple):
    """The number of lines of the file, the orders per transaction, and the seconds between kills."""

    lines: int
    at_once: int
    every: float

    @property
    def timeout(self) -> int:
        """In seconds, on the reference machine."""
        return 120 + self.lines // 10


def settle(trade: Workload, env: dict[str, str], pools: Pools, probe: DatabaseProbe, folder: Path) -> None:
    """Place the orders while processes are killed; all must be confirmed, and the amounts must match the file
    to the cent.
    """
    lines = FILE.read_bytes().splitlines(keepends=True)[: trade.lines]
    file = folder / "purchases.txt"
    file.write_bytes(b"".join(lines))
    pieces = sum(int(line.split()[3]) for line in lines)
    cents = sum(int(Decimal(line.split()[4].decode()) * 100) for line in lines)
    _manage(env, "seed_catalog", "--example", "cdnow", "--json")
    before = _manage(env, "reconcile", "--grace=0", "--json")["looked_at"]["orders"]
    how = [f"--at-once={trade.at_once}", f"--timeout={scaled(trade.timeout):.0f}"]
    placing = ["place_orders", str(file), "--format=cdnow", "--json", "--wait", *how]

    killer = ProcessKiller(pools, every=trade.every, of_each=True)
    with subprocess.Popen(
        [sys.executable, "manage.py", *placing],
        cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        while process.poll() is None:
            killer.kill_when_due()
            time.sleep(0.05)
        output = process.stdout.read() if process.stdout else ""
    killer.start_all()

    assert process.returncode == 0, output
    result = json.loads(output)
    sys.stdout.write(f"{killer.kills} kills\n{output}\n")  # pytest -s shows the figures
    assert (result["placed"], result["money"]) == (len(lines), {"USD": cents})
    assert (result["outcomes"]["confirmed"], result["outcomes"]["rolled_back"]) == (len(lines), 0)
    assert killer.kills >= len(list(pools))
    probe.wait_until_clean(timeout=60)
    report = _manage(env, "reconcile", "--grace=0", "--json")
    assert (report["clean"], report["looked_at"]["orders"]) == (True, before + len(lines))
    assert probe.stock_counters("CDNOW-CD") == {"on_hand": 20_000 - pieces, "held": 0, "sold": pieces}
    [(left,)] = probe.query("payments", "SELECT sum(balance) FROM wallet WHERE currency = 'USD'")
    [(sales,)] = probe.query(
        "payments", "SELECT sum(amount) FROM ledger_entry WHERE account = 'sales' AND currency = 'USD'"
    )
    assert (left, sales) == (FUNDED - cents, cents)
    again = _manage(env, *placing)
    assert (again["placed"], again["placed_before"]) == (0, len(lines))


def _manage(env: dict[str, str], *words: str) -> Any:
    """Run a command that must succeed; return its JSON output."""
    command = [sys.executable, "manage.py", *words]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
