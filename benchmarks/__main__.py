"""Runs the benchmarks: each contestant in turn, round by round, on private servers; each result is checked.

``python -m benchmarks --only drain,latency --rounds 3`` runs two experiments. Reports go to ``docs/reports``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

LINGER = "ORDERSAGA_LINGER"
for _name in [name for name in os.environ if name.startswith("ORDERSAGA_") and name != LINGER]:
    del os.environ[_name]  # benchmarks never use the caller's servers
os.environ |= {"ORDERSAGA_ENV": "test", "ORDERSAGA_DOTENV": ""}

from benchmarks import machine_info, report  # noqa: E402
from benchmarks.contestants.registry import CAREFUL, PLAIN, Contestant  # noqa: E402
from benchmarks.environment import Servers  # noqa: E402
from benchmarks.experiments import EXPERIMENTS, Bench, Experiment  # noqa: E402
from benchmarks.measuring import Figures  # noqa: E402
from benchmarks.prefill import PrefilledDatabases  # noqa: E402
from tests.support.processes import ROOT  # noqa: E402

REPORTS = ROOT / "docs" / "reports"
PACKAGES = (
    "celery",
    "kombu",
    "amqp",
    "psycopg2-binary",
    "psycopg",
    "django",
    "sqlalchemy",
    "pydantic",
    "orjson",
)


def best(
    candidates: list[Contestant], drained: dict[str, list[Figures]], otherwise: Contestant
) -> Contestant:
    """Return the candidate with the fastest drain so far."""
    known = [contestant for contestant in candidates if drained.get(contestant.name)]
    return max(
        known,
        key=lambda contestant: report.median(drained[contestant.name])["orders_per_second"],
        default=otherwise,
    )


def measure(
    bench: Bench, experiments: list[Experiment], rounds: int, folder: Path, given: dict[str, object]
) -> None:
    """Measure round by round, so that a machine whose speed drifts affects all contestants alike. Reports are
    written after each experiment.
    """
    found: dict[str, dict[str, list[Figures]]] = {experiment.name: {} for experiment in experiments}
    for number in range(1, rounds + 1):
        for experiment in experiments:
            if experiment.once and number > 1:
                continue
            for name, run in experiment.run(bench):
                began = time.monotonic()
                figures = run()
                found[experiment.name].setdefault(name, []).append(figures)
                took, figure = (
                    time.monotonic() - began,
                    f"{figures[experiment.figure]:,.1f} {experiment.unit}",
                )
                print(f"{number}  {experiment.name:12}{name:44}{figure:>32}  ({took:.0f} s)", flush=True)
            report.write(folder, experiment, found[experiment.name], given)
            report.page(folder)
            if experiment.name == "drain":
                bench.plain = best(PLAIN, found["drain"], bench.plain)
                bench.careful = best(CAREFUL, found["drain"], bench.careful)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        default=",".join(EXPERIMENTS),
        metavar="EXPERIMENTS",
        help=f"some of {', '.join(EXPERIMENTS)}; all by default",
    )
    parser.add_argument("--rounds", type=int, default=3, help="the number of rounds (3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies the numbers of orders; below 1 for trying out"
    )
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="FOLDER", help="where reports go")
    wanted = parser.parse_args()
    names = [name.strip() for name in wanted.only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        parser.error(
            f"--only: there is no experiment {', '.join(unknown)}; there are {', '.join(EXPERIMENTS)}"
        )
    if wanted.rounds < 1 or not 0 < wanted.scale <= 1:
        parser.error("--rounds is 1 or more, --scale above 0 and at most 1")
    given: dict[str, object] = {
        "commit": machine_info.commit(),
        "rounds_wanted": wanted.rounds,
        "scale": wanted.scale,
        **({"linger": os.environ[LINGER]} if LINGER in os.environ else {}),
        "machine": machine_info.machine(),
        "versions": machine_info.versions(*PACKAGES),
        "load_before": machine_info.loads(),
    }
    servers = Servers()
    try:
        given["servers"] = servers.versions()
        bench = Bench(servers, PrefilledDatabases(servers), scale=wanted.scale)
        measure(
            bench,
            [EXPERIMENTS[name] for name in EXPERIMENTS if name in names],
            wanted.rounds,
            wanted.reports,
            given,
        )
    except KeyboardInterrupt:
        print("stopped; reports hold the experiments that were measured", file=sys.stderr)
        return 130
    finally:
        servers.close()
    print((wanted.reports / "README.md").read_text().split("\n## ")[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
