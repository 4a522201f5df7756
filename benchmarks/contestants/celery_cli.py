"""``celery`` that says ``ready.`` on one line whatever the log level: the benchmarks wait for it and log
nothing else.
"""

from __future__ import annotations

from typing import Any

from celery import signals
from celery.__main__ import main


@signals.worker_ready.connect
def _tell(**_: Any) -> None:
    print("ready.", flush=True)


if __name__ == "__main__":
    main()
