"""Refuse development defaults in production."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from ordersaga.conninfo import parse

SAMPLE_SECRET = "sample-secret-change-me-0123456789abcdef"  # noqa: S105 - production refuses it
MIN_SECRET_BYTES = 32
HOW_TO_MAKE_ONE = "make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"


def signing_pairs(text: str) -> dict[str, str]:
    """Secrets by key id, in the order written.

    :raises ValueError: when a pair has no id or no secret, or an id is repeated.
    """
    pairs: dict[str, str] = {}
    for number, pair in enumerate(text.split(","), start=1):
        key, _, secret = pair.strip().partition(":")
        if not key or not secret:
            raise ValueError(
                f"pair {number} is not id:secret; write id:secret,id:secret, the first one signs"
            )
        if key in pairs:
            raise ValueError(f"pair {number} repeats a key id; give each secret a different id")
        pairs[key] = secret
    return pairs


class CheckedSettings(Protocol):
    """The settings that are checked; iterating yields each field with its value."""

    @property
    def debug(self) -> bool: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def signing_keys(self) -> str: ...
    @property
    def allowed_hosts(self) -> tuple[str, ...]: ...
    @property
    def broker_url(self) -> str: ...
    def __iter__(self) -> Iterator[tuple[str, Any]]: ...


def unsafe_defaults(settings: CheckedSettings) -> list[tuple[str, str]]:
    """The unsafe settings as ``(field, fault and remedy)``."""
    return list(_faults(settings))


def _faults(settings: CheckedSettings) -> Iterator[tuple[str, str]]:
    if settings.debug:
        yield "debug", "is on and would show internals to everyone; unset it"
    if fault := _secret_fault(settings.secret_key):
        yield "secret_key", fault
    for fault in {_secret_fault(secret) for secret in signing_pairs(settings.signing_keys).values()} - {""}:
        yield "signing_keys", fault
    if any(host.strip(".") == "*" for host in settings.allowed_hosts):
        yield "allowed_hosts", "accepts any host (*); list the names people type"
    if any(_is_guest(url) or _password_equals_user(url) for url in settings.broker_url.split(";")):
        yield (
            "broker_url",
            "uses guest:guest or a password equal to its user; create a separate user of the broker",
        )
    for name, value in settings:
        if name.endswith(("_database_url", "_direct_url", "_reader_url")) and _password_equals_user(value):
            yield name, "has a password equal to its user; give the role a random password"


def _secret_fault(secret: str) -> str:
    if SAMPLE_SECRET in secret:
        return f"holds the sample secret, which everyone knows; {HOW_TO_MAKE_ONE}"
    if len(secret.encode()) < MIN_SECRET_BYTES:
        return f"holds a secret shorter than {MIN_SECRET_BYTES} bytes; {HOW_TO_MAKE_ONE}"
    return ""


def _is_guest(url: str) -> bool:
    """Whether an AMQP URL uses guest:guest, kombu's default."""
    parts = urlsplit(url)
    known = (parts.username or "guest") == "guest" and (parts.password or "guest") == "guest"
    return known and parts.scheme in {"amqp", "amqps", "pyamqp"}


def _password_equals_user(url: str) -> bool:
    if url.startswith(("postgres", "pgmq")):
        options = parse(url)
        return bool(options.get("password")) and options.get("user") == options["password"]
    parts = urlsplit(url)
    return bool(parts.password) and unquote(parts.username or "") == unquote(parts.password or "")
