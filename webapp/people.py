"""Who did it: signals and records name staff by number; the pages show the name that belongs to it."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

STAFF = "staff "


def told_as(user: AbstractBaseUser | AnonymousUser) -> str:
    """How an act of ``user`` is recorded and travels: ``staff 3``, no personal data."""
    return f"{STAFF}{user.pk}"


def shown(told: Iterable[str]) -> dict[str, str]:
    """``staff 3 (anna)`` for each ``staff 3`` whose user there is; others as they are. One query, or none."""
    wanted = set(told)
    numbers = {name: int(name.removeprefix(STAFF)) for name in wanted if _is_staff(name)}
    users = get_user_model().objects.in_bulk(list(numbers.values())) if numbers else {}
    return {name: f"{name} ({users[numbers[name]].get_username()})" if numbers.get(name) in users else name for name in wanted}


def _is_staff(name: str) -> bool:
    number = name.removeprefix(STAFF)
    return name.startswith(STAFF) and number.isascii() and number.isdigit() and len(number) <= 9
