"""Errors of the API as RFC 9457 problem details, which name the field and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that is answered with an error.

    :ivar status: the HTTP status.
    :ivar code: a stable name of the kind of problem, for clients.
    :ivar detail: a sentence: what is wrong and what to do.
    :ivar errors: one for each wrong field, with ``field``, ``fault`` and ``remedy``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.errors = status, code, detail, errors
        self.headers, self.more = dict(headers or {}), dict(more or {})

    def as_dict(self) -> dict[str, Any]:
        """The body of the response."""
        return {
            "type": f"urn:ordersaga:problem:{self.code}",
            "title": TITLES.get(self.code, self.code.replace("-", " ").capitalize()),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "errors": list(self.errors),
            **self.more,
        }


TITLES = {
    "unauthorized": "No valid token",
    "forbidden": "The token lacks a scope",
    "too-many-requests": "The token's budget is used up",
    "invalid": "The request is not valid",
    "refused": "The order cannot be placed",
    "conflict": "The idempotency key belongs to another order",
}


def field_error(field: str, fault: str, remedy: str) -> dict[str, str]:
    """What is wrong with one field."""
    return {"field": field, "fault": fault, "remedy": remedy}
