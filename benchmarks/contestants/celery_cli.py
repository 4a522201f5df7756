"""``celery`` that prints ``ready.`` whatever its log level; the benchmarks wait for that line."""

from __future__ import annotations

from typing import Any

from celery import signals
from celery.__main__ import main


@signals.worker_ready.connect
def _print_ready(**_: Any) -> None:
    print("ready.", flush=True)


if __name__ == "__main__":
    main()
