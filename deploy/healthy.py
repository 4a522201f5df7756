"""Whether an address answers with 200: ``python deploy/healthy.py http://127.0.0.1:8000/healthz``, for health checks.

The slim images have neither curl nor wget. The name asked for is one that the site answers to.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ordersaga.errors import ConfigurationError
from workers.settings import settings

TIMEOUT = 8.0


def check(url: str) -> str:
    """What is wrong, in a line; empty when nothing is."""
    try:
        host = settings().allowed_hosts[0].lstrip(".")
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=TIMEOUT) as answer:  # noqa: S310
            return "" if answer.status == 200 else f"{url} answers with {answer.status}"
    except ConfigurationError as refused:
        return str(refused)
    except (OSError, urllib.error.URLError) as error:
        return f"{url}: {error}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python deploy/healthy.py http://…")
    sys.exit(check(sys.argv[1]) or None)
