"""Runs the fault run: ``python -m tests.faults --minutes 15 --seed 1``; ``make faults MINUTES=15 SEED=1``.

Reports go to ``docs/reports``. Exit status: 0 if every demand is met; 1 otherwise, with the reasons in the
last lines.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

for _name in [name for name in os.environ if name.startswith("ORDERSAGA_")]:
    del os.environ[_name]  # the run never uses the caller's servers
os.environ |= {"ORDERSAGA_ENV": "test", "ORDERSAGA_DOTENV": ""}

from benchmarks.report import page  # noqa: E402 - what they import reads the environment
from tests.faults import report  # noqa: E402
from tests.faults.kinds import KINDS  # noqa: E402
from tests.faults.run import run, say  # noqa: E402
from tests.support.processes import ROOT, stop_all  # noqa: E402

REPORTS = ROOT / "docs" / "reports"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="how long orders are placed, at least (15)")
    parser.add_argument("--seed", type=int, default=1, help="decides the orders and the faults (1)")
    parser.add_argument("--rate", type=float, default=30, help="orders a second (30)")
    parser.add_argument(
        "--kinds", default="", metavar="KINDS", help=f"some of {', '.join(KINDS)}; all by default"
    )
    parser.add_argument("--short", action="store_true", help="each kind once, and only for a few seconds")
    parser.add_argument(
        "--reports", type=Path, default=REPORTS, metavar="FOLDER", help="where the report goes"
    )
    wanted = parser.parse_args()
    kinds = [name.strip() for name in wanted.kinds.split(",") if name.strip()]
    if unknown := [name for name in kinds if name not in KINDS]:
        parser.error(f"--kinds: there is no kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    try:
        found = run(
            seed=wanted.seed, minutes=wanted.minutes, rate=wanted.rate, kinds=kinds, short=wanted.short
        )
    except KeyboardInterrupt:
        say("stopped; no report is written")
        return 130
    finally:
        stop_all()
    report.write(wanted.reports, found)
    page(wanted.reports)
    for line in found["verdict"]:
        say(f"WRONG  {line}")
    say("all is as it must be" if not found["verdict"] else f"{len(found['verdict'])} demands are not met")
    return 1 if found["verdict"] else 0


if __name__ == "__main__":
    sys.exit(main())
