"""An embedded PostgreSQL with the three databases and a broker.

python -m webapp.ops.embedded start .run/postgres     prints the URLs as environment variables
python -m webapp.ops.embedded stop .run/postgres
"""

from __future__ import annotations

import sys
from pathlib import Path

from ordersaga import embedded
from ordersaga.embedded import Embedded, EmbeddedError, stop

__all__ = ["Embedded", "EmbeddedError", "start", "stop"]

DATABASES = {
    "orders": "ordersaga_orders",
    "inventory": "ordersaga_inventory",
    "payments": "ordersaga_payments",
}
"""By role, the database that it owns."""


def start(folder: Path) -> Embedded:
    """See :func:`ordersaga.embedded.start`."""
    return embedded.start(folder, DATABASES)


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in {"start", "stop"}:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    folder = Path(arguments[1])
    if arguments[0] == "stop":
        stop(folder)
        return 0
    for role, url in start(folder).urls.items():
        variable = "BROKER" if role == "broker" else f"{role.upper()}_DATABASE"
        sys.stdout.write(f"ORDERSAGA_{variable}_URL='{url}'\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
