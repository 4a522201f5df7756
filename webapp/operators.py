"""Acts of operators: who did it, why, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

STAFF = "staff "


def recorded_name(user: AbstractBaseUser | AnonymousUser) -> str:
    """How an act of ``user`` is recorded and travels: ``staff 3``, no personal data."""
    return f"{STAFF}{user.pk}"


def display_names(told: Iterable[str]) -> dict[str, str]:
    """``staff 3 (anna)`` for each ``staff 3`` whose user there is; others as they are. One query, or none."""
    wanted = set(told)
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
    """Nothing was done; the message says why and what to do instead."""


MAX_REASON_LENGTH = 500
"""Characters."""


def required_reason(reason: str) -> str:
    """``reason``, trimmed.

    :raises ActRefused: when it says nothing, is too long, or holds what is no text.
    """
    text = reason.strip()
    if not text:
        raise ActionRefused("reason: is missing. Say why, in a few words: it stands in the saga's story.")
    if len(text) > MAX_REASON_LENGTH:
        raise ActionRefused(f"reason: has {len(text)} characters. Use at most {MAX_REASON_LENGTH}.")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ActionRefused("reason: holds NUL or lone surrogates. Use plain text.")
    return text
