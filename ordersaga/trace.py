"""W3C trace context: the signals of a saga carry the ``traceparent`` of the request that started it."""

from __future__ import annotations

import re

TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""``version-traceid-parentid-flags`` (https://www.w3.org/TR/trace-context/#traceparent-header). Version
``ff`` and ids of zeros only are not valid.
"""


def is_traceparent(text: str | None) -> bool:
    """Whether ``text`` is a valid ``traceparent``."""
    return text is not None and TRACEPARENT.fullmatch(text) is not None


def check_traceparent(trace: str | None) -> None:
    """:raises ValueError: when ``trace`` is given and is not a valid ``traceparent``."""
    if trace is not None and not is_traceparent(trace):
        raise ValueError(
            f"`trace` is not a W3C traceparent: {trace[:60]!r}. It has the form "
            "00-<32 hexadecimal digits>-<16>-<2>, in lower case, and neither id is all zeros"
        )
