"""Measures the response time of every page of the admin over a million orders.

It uses a private PostgreSQL, gunicorn as docker-compose.yml runs it, and one logged-in user, and requests all
pages in turn, round by round. ``python -m benchmarks.pages`` prints a table and writes
``docs/reports/pages.json``. Exit status: 1 if a page is slower than 300 ms at the 95th percentile.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ |= {"ORDERSAGA_ENV": "test", "ORDERSAGA_DOTENV": ""}

from benchmarks.machine_info import commit, loads, machine, versions
from benchmarks.page_urls import page_urls
from benchmarks.website import Website
from tests.support.janitor import janitor
from tests.support.processes import ROOT

LIMIT = 300.0
"""Milliseconds at the 95th percentile."""
LEAST = 1_000


LOAD, COMMIT = loads(), commit()
"""Read at the start: the tree may change during the measurement."""
REPORT = ROOT / "docs" / "reports" / "pages.json"


@dataclass
class Page:
    """The measurements of one URL.

    :ivar first: milliseconds of the first request, after a restart of PostgreSQL and the web process.
    :ivar took: milliseconds of all later requests.
    """

    address: str
    status: int
    statements: int
    first: float
    took: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Return the figures for the report."""
        found = {name: value for name, value in asdict(self).items() if name != "took"}
        rest = {"p50": statistics.median(self.took), "p95": percentile(self.took), "max": max(self.took)}
        return {
            name: round(value, 1) if isinstance(value, float) else value
            for name, value in {**found, **rest}.items()
        }


def percentile(took: list[float], share: float = 0.95) -> float:
    """Return a percentile by the nearest-rank method."""
    return sorted(took)[math.ceil(share * len(took)) - 1]


def measure(site: Website, rounds: int) -> list[Page]:
    """Request every page once with cold caches, counting its statements, then ``rounds`` times in turn."""
    site.open()
    wanted = page_urls(site)
    site.restart()
    pages = []
    for address in wanted:
        before = site.statements()
        took, answer = site.get(address)
        pages.append(Page(address, answer.status, site.statements() - before, took))
    for done in range(1, rounds + 1):
        for page in pages:
            took, answer = site.get(page.address)
            page.took.append(took)
            if answer.status != page.status:
                raise RuntimeError(f"{page.address} answered {page.status}, then {answer.status}")
        print(f"\rround {done} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return pages


def broken(page: Page) -> bool:
    """Return whether the status is unexpected; a look-up redirects or answers 404."""
    lookup = page.address.startswith("/admin/go/")
    return page.status not in ((200, 302, 404) if lookup else (200,))


def report(site: Website, pages: list[Page], rounds: int) -> dict[str, Any]:
    """Return the report: the figures and what they depend on."""
    tables = ("ordersaga_saga", "orders_order", "ordersaga_journal", "audit_sagaevent", "audit_deadletter")
    counted = {
        table: int(site.query_value("SELECT reltuples::bigint FROM pg_class WHERE relname = %s", table))
        for table in tables
    }
    slowest = max(pages, key=lambda page: percentile(page.took))
    return {
        "what": "every page of the admin, requests taking turns",
        "command": f"python -m benchmarks.pages --sagas {site.orders} --rounds {rounds}",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": COMMIT,
        "versions": {
            "postgresql": site.query_value("SHOW server_version"),
            **versions("django", "gunicorn", "psycopg"),
        },
        "machine": machine(),
        "load": {"before": LOAD, "after": loads()},
        "rows": counted,
        "bytes": site.size(),
        "seconds_to_fill": round(site.filled_in, 1),
        "limit_ms": LIMIT,
        "slowest": {"address": slowest.address, "p95": round(percentile(slowest.took), 1)},
        "pages": [page.figures() for page in pages],
    }


def print_table(figures: list[dict[str, Any]]) -> None:
    """The table, the slowest first."""
    print(f"{'p50':>8}{'p95':>8}{'max':>8}{'cold':>8}{'asks':>6}  page (milliseconds)")
    for page in sorted(figures, key=lambda page: -page["p95"]):
        times = "".join(f"{page[name]:8.1f}" for name in ("p50", "p95", "max", "first"))
        answered = "" if page["status"] == 200 else f" ({page['status']})"
        print(f"{times}{page['statements']:6}  {page['address']}{answered}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pages", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--sagas", type=int, default=1_000_000, metavar="N", help="as many settled orders (1000000)"
    )
    parser.add_argument(
        "--rounds", type=int, default=20, metavar="N", help="as many requests of each page (20)"
    )
    parser.add_argument("--report", type=Path, default=REPORT, metavar="FILE", help="where the figures go")
    wanted = parser.parse_args()
    if wanted.sagas < LEAST or wanted.rounds < 1:
        parser.error(f"at least {LEAST} sagas, so that there is one of each kind, and a round")
    started = time.monotonic()
    site = Website(wanted.sagas)
    try:
        print(f"{wanted.sagas:,} orders written in {site.filled_in:.0f} s", file=sys.stderr)
        pages = measure(site, wanted.rounds)
        found = report(site, pages, wanted.rounds)
    finally:
        site.close()
        janitor().finish()
    print_table(found["pages"])
    wanted.report.parent.mkdir(parents=True, exist_ok=True)
    wanted.report.write_text(json.dumps(found, indent=1) + "\n")
    slow = [page for page in pages if percentile(page.took) > LIMIT]
    faulty = [page for page in pages if broken(page)]
    for page in faulty:
        print(f"{page.address} answered {page.status}")
    print(
        f"{len(pages)} pages, {wanted.rounds} rounds, {time.monotonic() - started:.0f} s:",
        f"{len(slow)} slower than {LIMIT:.0f} ms at the 95th percentile; {wanted.report}",
    )
    return 1 if slow or faulty else 0


if __name__ == "__main__":
    sys.exit(main())
