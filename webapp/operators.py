"""Operator actions: the recorded name of an operator, the required reason, and the refusal of an action."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

STAFF = "staff "


def recorded_name(user: AbstractBaseUser | AnonymousUser) -> str:
    """Return the name under which actions of ``user`` are recorded: ``staff 3``, no personal data."""
    return f"{STAFF}{user.pk}"


def display_names(recorded: Iterable[str]) -> dict[str, str]:
    """Return ``staff 3 (anna)`` for each ``staff 3`` whose user exists, and other names unchanged.

    It takes one query, or none.
    """
    wanted = set(recorded)
    numbers = {name: int(name.removeprefix(STAFF)) for name in wanted if _is_staff(name)}
    users = get_user_model().objects.in_bulk(list(numbers.values())) if numbers else {}
    return {
        name: f"{name} ({users[numbers[name]].get_username()})" if numbers.get(name) in users else name
        for name in wanted
    }


def _is_staff(name: str) -> bool:
    number = name.removeprefix(STAFF)
    return name.startswith(STAFF) and number.isascii() and number.isdigit() and len(number) <= 9


class ActionRefused(Exception):
    """Nothing was done; the message gives the reason and the remedy."""


MAX_REASON_LENGTH = 500
"""In characters."""


def required_reason(reason: str) -> str:
    """Return ``reason``, trimmed.

    :raises ActionRefused: when it is empty, too long, or contains NUL or lone surrogates.
    """
    text = reason.strip()
    if not text:
        raise ActionRefused("reason: is missing. Give a short reason; it is recorded in the saga's timeline.")
    if len(text) > MAX_REASON_LENGTH:
        raise ActionRefused(f"reason: has {len(text)} characters. Use at most {MAX_REASON_LENGTH}.")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ActionRefused("reason: contains NUL or lone surrogates. Use plain text.")
    return text
