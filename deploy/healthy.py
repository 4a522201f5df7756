"""Whether an address answers with 200: ``python deploy/healthy.py http://127.0.0.1:8000/readyz``, for health
checks.

The slim images have neither curl nor wget.
"""

from __future__ import annotations

import http.client
import sys
import urllib.request

TIMEOUT = 8.0


def fault(url: str) -> str:
    """What is wrong, in a line; empty when nothing is."""
    if not url.startswith(("http://", "https://")):
        return f"{url} is no address; write http://host:port/path"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - http and https only, see above
            return "" if answer.status == http.HTTPStatus.OK else f"{url} answers with {answer.status}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{url}: {error}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python deploy/healthy.py http://…")
    sys.exit(fault(sys.argv[1]) or None)
