"""Health check: ``python deploy/healthy.py http://127.0.0.1:8000/readyz`` succeeds on status 200.

The slim images have neither curl nor wget.
"""

from __future__ import annotations

import http.client
import sys
import urllib.request

TIMEOUT = 8.0


def fault(url: str) -> str:
    """Return one line that describes the fault, or an empty string."""
    if not url.startswith(("http://", "https://")):
        return f"{url} is not an address; write http://host:port/path"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - http or https, see above
            return "" if answer.status == http.HTTPStatus.OK else f"{url} answers with {answer.status}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{url}: {error}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python deploy/healthy.py http://…")
    sys.exit(fault(sys.argv[1]) or None)
