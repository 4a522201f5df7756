"""A database's address, as Django wants it."""

from __future__ import annotations

import pytest

from webapp.database_url import django_database


def test_an_address_is_taken_apart_and_decoded() -> None:
    made = django_database("postgresql://us%40er:p%2Fw@db.example:6543/na%20me?sslmode=require")
    assert (made["USER"], made["PASSWORD"], made["HOST"], made["PORT"], made["NAME"]) == (
        "us@er", "p/w", "db.example", "6543", "na me",
    )  # fmt: skip
    assert made["OPTIONS"]["sslmode"] == "require"


def test_a_socket_folder_stands_in_the_query() -> None:
    made = django_database("postgresql+psycopg2://orders@/shop?host=/run/sockets&port=5433")
    assert (made["HOST"], made["PORT"], made["NAME"], made["USER"]) == ("/run/sockets", "5433", "shop", "orders")
    assert made["OPTIONS"].keys() == {"connect_timeout", "prepare_threshold"}


@pytest.mark.parametrize("url", ["mysql://a:hunter2@b/c", "hunter2", "postgresql://a:hunter2@b/"])
def test_what_is_no_address_of_postgresql_is_refused_without_printing_it(url: str) -> None:
    with pytest.raises(ValueError, match="a database address") as refused:
        django_database(url)
    assert "hunter2" not in str(refused.value)
