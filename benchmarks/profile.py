"""Profiles OrderSaga: ``python -m benchmarks.profile drain``.

``pg_stat_statements`` shows the cost of each statement, py-spy the functions in which the pools use the CPU.
Both slow the run down, so its speed means nothing.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import cpu
from benchmarks.contestants.registry import ORDERSAGA
from benchmarks.environment import Run, Servers, run_of
from benchmarks.measuring import DEFAULT_WORKLOAD
from benchmarks.resource_counts import instrumented_servers

OURS = ("ordersaga/", "workers/", "webapp/")
SHOWN = 16
STATEMENTS = """
SELECT sum(total_exec_time + total_plan_time) OVER () / %(orders)s,
    (total_exec_time + total_plan_time) / %(orders)s AS ms,
    total_plan_time / %(orders)s, calls::float / %(orders)s, rows::float / %(orders)s,
    wal_bytes::float / %(orders)s, left(regexp_replace(query, '\\s+', ' ', 'g'), 90)
FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
WHERE datname = ANY(%(databases)s) ORDER BY ms DESC LIMIT %(shown)s
"""


def profile(kind: str, orders: int) -> None:
    """Print the tables of one run."""
    with (
        instrumented_servers(track_planning="on") as servers,
        run_of(ORDERSAGA, servers, DEFAULT_WORKLOAD) as run,
        TemporaryDirectory() as folder,
    ):
        if kind == "drain":
            run.prefill(orders)
        with servers.postgres.connect() as cursor:
            cursor.execute("SELECT pg_stat_statements_reset()")
        run.start()
        before = cpu.used(run.process_roots())
        with _profiled(run, Path(folder)) as samples:
            if kind != "drain":
                rate = 20 if kind == "even" else 0
                placing = run.placers(
                    orders, placers=1 if rate else 4, at_once=20 if kind == "twenty" else 1, rate=rate
                )
                placing.start()
                placing.wait(600)
            run.wait_until_settled()
        used = cpu.between(before, cpu.used(run.process_roots()))
        _print_cpu({**used, "placers": placing.cpu} if kind != "drain" else used, orders)
        _print_statements(servers, run, orders)
        _print_functions(samples)


@contextmanager
def _profiled(run: Run, folder: Path) -> Iterator[Counter[str]]:
    """Sample the pools' processes; the counts by function are complete after the block."""
    samples: Counter[str] = Counter()
    profilers = []
    for kind, process in run.pools:
        file = folder / kind
        options = [
            "--pid",
            str(process.pid),
            "--subprocesses",
            "--format",
            "raw",
            "--rate",
            "100",
            "--nonblocking",
        ]
        argv = [str(Path(sys.executable).with_name("py-spy")), "record", *options, "--output", str(file)]
        profilers.append(
            (kind, file, subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        )
    yield samples
    for kind, file, profiler in profilers:
        profiler.send_signal(signal.SIGINT)
        profiler.wait(60)
        for line in file.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            samples[f"{kind.removesuffix(' pool')}: {_place(stack.split(';'))}"] += int(count)


def _place(stack: list[str]) -> str:
    """Return the project's innermost function of a stack, without its line."""
    for frame in reversed(stack):
        function, _, place = frame.rpartition(" (")
        if place.startswith(OURS):
            return f"{place.rpartition(':')[0]} {function}"
    return "Celery and kombu, outside our code"


def _print_cpu(used: dict[str, float], orders: int) -> None:
    print(f"\nCPU of {orders:,} orders, ms an order\n\n| | |\n|---|---:|")
    for kind, seconds in sorted(used.items(), key=lambda one: -one[1]):
        print(f"| {kind} | {seconds * 1000 / orders:.3f} |")


def _print_statements(servers: Servers, run: Run, orders: int) -> None:
    with servers.postgres.connect() as cursor:
        cursor.execute(STATEMENTS, {"orders": orders, "databases": run.databases.names, "shown": SHOWN})
        found = cursor.fetchall()
    print(f"\nStatements, {found[0][0]:.3f} ms an order in all\n")
    print(
        "| share | ms | of it planning | calls | rows | WAL bytes | statement |\n"
        "|---:|---:|---:|---:|---:|---:|---|"
    )
    for whole, ms, planning, calls, rows, wal, query in found:
        print(
            f"| {100 * ms / whole:.0f} % | {ms:.3f} | {planning:.3f} | {calls:.3f} | {rows:.1f} | {wal:.0f} "
            f"| `{query}` |"
        )


def _print_functions(samples: Counter[str]) -> None:
    whole = samples.total()
    print("\nPython in the pools, by the project's innermost function\n\n| share | |\n|---:|---|")
    for place, count in samples.most_common(SHOWN):
        print(f"| {100 * count / whole:.0f} % | {place} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument(
        "kind",
        choices=("drain", "one", "twenty", "even"),
        help="a drain; end to end, one or twenty a transaction; or 20 a second",
    )
    parser.add_argument("--orders", type=int, default=12_000)
    arguments = parser.parse_args()
    profile(arguments.kind, arguments.orders)


if __name__ == "__main__":
    main()
