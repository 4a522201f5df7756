"""Waiting for the audit: it hears of an order a little after the order has settled."""

from __future__ import annotations

import time
from collections.abc import Callable

from ordersaga.sessions import connect

REST, LIMIT = 2.0, 60.0
"""Seconds without news after which it has heard all, and seconds after which nobody waits any longer."""
PAUSE = 0.25
LAST = "SELECT max(id) FROM audit_sagaevent"


def trail_rests(orders_url: str, meanwhile: Callable[[], None]) -> None:
    """Until nothing has been added to the audit trail for a while; the auditor judges what is there."""
    connection = connect(orders_url, application_name="demo")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            began = since = time.monotonic()
            last: object = None
            while time.monotonic() - since < REST and time.monotonic() - began < LIMIT:
                meanwhile()
                cursor.execute(LAST)
                before, last = last, cursor.fetchone()
                if last != before:
                    since = time.monotonic()
                time.sleep(PAUSE)
    finally:
        connection.close()
