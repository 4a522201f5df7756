"""The web process reports whether it lives and is ready, and tells strangers no more."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client

STRANGER = Client(SERVER_NAME="10.1.2.3")


@pytest.fixture
def away(orders_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "unspoken")


def test_a_process_is_alive_whatever_the_database_does(away: None) -> None:
    answer = STRANGER.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})
    assert answer.headers["Cache-Control"] == "no-store"


def test_with_database_and_migrations_it_is_ready(orders_database: str) -> None:
    answer = STRANGER.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": []})


def test_without_its_database_it_is_not_ready(away: None) -> None:
    answer = STRANGER.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reasons": ["the orders database does not answer"]}


def test_with_a_missing_migration_it_is_not_ready(orders_database: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE app = 'audit' AND name = '0001_initial'"
            " RETURNING id, applied"
        )
        [row] = cursor.fetchall()
    try:
        answer = STRANGER.get("/readyz")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO django_migrations VALUES (%s, 'audit', '0001_initial', %s)", row)
    assert answer.status_code == 503
    assert answer.json()["reasons"] == [
        "1 of the orders database's migrations are not applied: manage.py migrate"
    ]


def test_health_urls_answer_nothing_else(orders_database: str) -> None:
    assert STRANGER.post("/readyz").status_code == 405
    assert STRANGER.get("/readyz/").status_code == 400  # a host name that the site does not accept
