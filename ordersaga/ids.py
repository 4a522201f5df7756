"""Identifiers that sort by the time of their making."""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """A new UUID, version 7 (RFC 9562 §5.7), as text.

    Rows keyed by it are appended near one another, so that an index over a million sagas is as quick to write as an
    empty one. Two ids of one millisecond are in no order.
    """
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
