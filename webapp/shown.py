"""How the admin's lists write money, moments and ids, so that a row stays one line."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

# ISO 4217's currencies whose minor unit is not the hundredth.
WHOLE = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"}
)
THOUSANDTHS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})


def money(minor: int, currency: str) -> str:
    """``304.83 EUR`` for 30483 minor units."""
    digits = 0 if currency in WHOLE else 3 if currency in THOUSANDTHS else 2
    whole, part = divmod(minor, 10**digits)
    return unbroken(f"{whole:,}.{part:0{digits}} {currency}" if digits else f"{whole:,} {currency}")


def moment(at: datetime | None) -> str | None:
    """To the millisecond: a saga takes less than a second."""
    return unbroken(f"{timezone.localtime(at):%d %b %Y %H:%M:%S.%f}"[:-3]) if at else None


def unbroken(text: object) -> str:
    """On one line, however narrow the column."""
    return format_html('<span style="white-space: nowrap">{}</span>', text)


def story(saga: UUID) -> str:
    """A link to all that was said of a saga."""
    return format_html('<a href="{}?q={}">what was said of it</a>', reverse("admin:audit_sagaevent_changelist"), saga)
