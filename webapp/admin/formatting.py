"""Format money, times, ids and payloads for the admin, so that a list row stays on one line."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from uuid import UUID

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

# ISO 4217's currencies whose minor unit is not the hundredth: how many decimals they have.
_WHOLE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
DECIMALS = {
    **dict.fromkeys(_WHOLE.split(), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def decimals(currency: str) -> int:
    """The number of decimals of a currency's amounts."""
    return DECIMALS.get(currency, 2)


def amount(minor: int, currency: str) -> str:
    """Minor units as a decimal number: ``-1,304.83`` for -130483 of EUR."""
    digits = decimals(currency)
    whole, part = divmod(abs(minor), 10**digits)
    sign = "-" if minor < 0 else ""
    return f"{sign}{whole:,}.{part:0{digits}}" if digits else f"{sign}{whole:,}"


def format_money(minor: int, currency: str) -> str:
    """``304.83 EUR`` for 30483 minor units."""
    return nowrap(f"{amount(minor, currency)} {currency}")


def format_millisecond(at: datetime | None) -> str | None:
    """Format a time to the millisecond, because a saga takes less than a second."""
    return _day_and_time(at, f"{timezone.localtime(at):%H:%M:%S.%f}"[:-3]) if at else None


def format_second(at: datetime | None) -> str | None:

    return _day_and_time(at, f"{timezone.localtime(at):%H:%M:%S}") if at else None


def _day_and_time(at: datetime, time: str) -> str:
    """In a narrow column the line breaks between day and time."""
    return format_html("{} {}", nowrap(f"{timezone.localtime(at):%d %b %Y}"), nowrap(time))


def format_duration(span: timedelta) -> str:
    """Return the two largest units: ``2 d 3 h``, ``4 min 5 s``, ``0.120 s``."""
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.3f} s"
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next(n for n, (count, _) in enumerate(parts) if count or n == 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def nowrap(text: object) -> str:
    """Keep ``text`` on one line in a column of any width."""
    return format_html('<span class="line">{}</span>', text)


def events_link(saga: UUID) -> str:
    """Return a link to the audit events of a saga."""
    return format_html(
        '<a href="{}?q={}">events of this saga</a>', reverse("admin:audit_sagaevent_changelist"), saga
    )


MAX_CHARACTERS = 20_000
"""The most characters of a payload or traceback that a page shows."""


def preformat(text: str) -> str:
    """Show the line breaks of a text; a long text is cut off."""
    if not text:
        return "none"
    rest = f"\n… and {len(text) - MAX_CHARACTERS:,} more characters" if len(text) > MAX_CHARACTERS else ""
    style = "margin: 0; white-space: pre-wrap; overflow-wrap: anywhere"
    return format_html('<pre style="{}">{}{}</pre>', style, text[:MAX_CHARACTERS], rest)


def format_json(value: object) -> str:
    """Format a JSON value over several lines."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def format_payload(body: bytes) -> str:
    """Format the body of a message: JSON over several lines, anything else as text with escapes."""
    if len(body) <= 10 * MAX_CHARACTERS:
        try:
            return format_json(json.loads(body))
        except (ValueError, RecursionError):
            pass
    return body[: 4 * MAX_CHARACTERS].decode("utf-8", "backslashreplace")
