"""Create tokens, and check the token of a request: who it is, what it may do, what is left of its budget."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models.functions import Now

from webapp.api.models import DEFAULT_PER_MINUTE, Scope, Token

PREFIX = "osk_"
"""Secret scanners find a token by it."""
SHOWN = 12
"""Characters of a token that are stored and shown."""

# One statement for the token and its budget. The minute is counted in an unlogged table, whose commits are
# not flushed. `last_used_at` is written once per minute.
AUTHENTICATE = """
WITH token AS (
    SELECT id, name, scopes, per_minute, floor(extract(epoch FROM now()) / 60)::bigint AS minute
    FROM api_token
    WHERE digest = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
), used AS (
    INSERT INTO api_usage AS usage (token_id, minute, requests) SELECT id, minute, 1 FROM token
    ON CONFLICT (token_id) DO UPDATE SET minute = excluded.minute,
        requests = CASE WHEN usage.minute = excluded.minute THEN usage.requests + 1 ELSE 1 END
    RETURNING requests
), noted AS (
    UPDATE api_token SET last_used_at = now() FROM used, token
    WHERE api_token.id = token.id AND used.requests = 1
)
SELECT token.id, token.name, token.scopes, token.per_minute, used.requests,
    60 - (extract(epoch FROM now())::bigint %% 60)
FROM token, used
"""


class NewToken(NamedTuple):
    """A token's row and its secret, which is known at its creation only."""

    token: Token
    secret: str


class Client(NamedTuple):
    """Who sent a request.

    :ivar used: requests in this minute, this one included.
    :ivar reset: seconds until the minute ends.
    """

    id: int
    name: str
    scopes: Sequence[str]
    per_minute: int
    used: int
    reset: int

    @property
    def recorded_name(self) -> str:
        """How an action of this client is recorded and travels: no personal data."""
        return f"api token {self.id}"

    @property
    def remaining(self) -> int:
        return max(self.per_minute - self.used, 0)


def create_token(
    name: str,
    scopes: Sequence[str],
    *,
    per_minute: int = DEFAULT_PER_MINUTE,
    expires_at: datetime | None = None,
    lifetime: timedelta | None = None,
) -> NewToken:
    """Create a token; its secret is in the result and nowhere else.

    :param lifetime: instead of ``expires_at``, from now.
    :raises ValueError: for no scope or an unknown one.
    """
    if not scopes or (unknown := sorted(set(scopes) - set(Scope.values))):
        fault = f"unknown scopes: {', '.join(unknown)}" if scopes else "a token needs a scope"
        raise ValueError(f"{fault}. Use {', '.join(Scope.values)}")
    secret = PREFIX + secrets.token_urlsafe(32)
    row = Token(
        name=name,
        prefix=secret[:SHOWN],
        digest=digest(secret),
        scopes=sorted(set(scopes)),
        per_minute=per_minute,
        expires_at=expires_at if lifetime is None else Now() + lifetime,
    )
    row.save()
    return NewToken(row, secret)


def revoke_token(token: int) -> bool:
    """End a token at once; False when it has been revoked before or does not exist."""
    return bool(Token.objects.filter(id=token, revoked_at=None).update(revoked_at=Now()))


def authenticate(secret: str) -> Client | None:
    """The client that a secret belongs to, with this request counted; None when it is not valid."""
    with connection.cursor() as cursor:
        cursor.execute(AUTHENTICATE, [digest(secret)])
        row = cursor.fetchone()
    return None if row is None else Client(*row)


def digest(secret: str) -> str:
    """A plain hash suffices: a secret has 256 random bits, so guessing it is hopeless."""
    return hashlib.sha256(secret.encode()).hexdigest()
