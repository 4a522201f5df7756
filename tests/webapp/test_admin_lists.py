"""Lists stay fast however long they are: no count, no full table scan, and the same number of queries on
every page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support import bulk_data
from tests.support.databases import copies, drop
from tests.support.postgres import OWNER, Postgres
from webapp.db import to_django_config

ORDERS = 20_000
NEWEST = ORDERS + ORDERS // 100
"""The last of the open orders."""
MOST_ROWS = 2_000
"""The most rows that one query may read. The rows since a status was last seen are 15,000."""
LARGE = (
    "orders_order",
    "ordersaga_saga",
    "ordersaga_outbox",
    "audit_sagaevent",
    "audit_deadletter",
    "orders_product",
)
GROWING = LARGE[:-1]
"""The tables that grow with every order, which the catalogue does not."""
LISTS = ["orders/order", "orders/saga", "orders/product", "audit/sagaevent", "audit/deadletter"]
FILTERS = [
    *[
        (f"orders/{kind}", f"status={status}")
        for kind in ("order", "saga")
        for status in ("PENDING", "CONFIRMED", "ROLLING_BACK", "ROLLED_BACK")
    ],
    *[
        (f"orders/{kind}", query)
        for kind in ("order", "saga")
        for query in ("open=yes", "open=no", "attention=yes")
    ],
    *[("orders/saga", f"refusal={name}") for name in ("OutOfStock", "OrderCancelled", "NothingOfTheKind")],
    *[("audit/sagaevent", f"kind={kind}") for kind in ("signal", "refusal", "answer", "notice", "attention")],
    ("audit/sagaevent", "again=yes"),
    *[("audit/deadletter", f"outcome={outcome}") for outcome in ("open", "replayed", "discarded", "all")],
    *[("audit/deadletter", f"source={source}") for source in ("participant", "broker", "unheard")],
    *[
        ("audit/deadletter", f"outcome=all&{query}")
        for query in (
            "source=broker",
            "participant=loyalty",
            "participant=inventory",
            "step=a.b",
            "step=",
            "error=ValueError",
        )
    ],
    ("audit/deadletter", "error=ValueError&step=a.b&participant=loyalty"),
]
FURTHER_QUERIES = {"orders/saga": 3, "audit/deadletter": 3}
"""Queries for the values of filters and the progress of sagas, besides the three for
session, user and list.
"""
TASK = "01999999-9999-7999-8999-999999999999"
SEARCHES = [
    *[
        (f"orders/{kind}", f"q={term}")
        for kind in ("order", "saga")
        for term in ("77", "customer-7", "cust", "nobody", TASK)
    ],
    *[("audit/sagaevent", f"q={term}") for term in ("77", TASK)],
    *[
        ("audit/deadletter", f"q={term}&outcome={outcome}")
        for term in ("77", TASK, "abc")
        for outcome in ("open", "all")
    ],
    *[("orders/product", f"q={term}") for term in ("P-77", "Thing 7", "none")],
]
RARE = [
    *[
        (f"orders/{kind}", f"q={term}&status={status}")
        for kind in ("order", "saga")
        for term in ("cust", "customer-7", "nobody", TASK)
        for status in ("PENDING", "ROLLING_BACK", "ROLLED_BACK")
    ],
    *[("orders/saga", f"refusal={name}") for name in ("OrderExpired", "PaymentDeclined")],
    *[("orders/saga", f"status=CONFIRMED&refusal={name}") for name in ("OutOfStock", "OrderExpired")],
    *[
        (f"orders/{kind}", query)
        for kind in ("order", "saga")
        for query in (
            "open=yes&attention=yes",
            "status=ROLLED_BACK&attention=yes",
            "status=PENDING&attention=yes",
        )
    ],
    *[
        ("audit/sagaevent", f"kind={kind}&again=yes")
        for kind in ("signal", "refusal", "answer", "notice", "attention")
    ],
]
"""Filters that match few rows, or none."""


@pytest.fixture(scope="module")
def client(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[Client]:
    """A staff user of an admin over 20,000 orders; no test here changes them."""
    made = copies(postgres, database_templates)
    bulk_data.fill_orders(ORDERS, postgres.url(made.orders.rpartition("/")[2], OWNER), rare=True)
    given = connections["default"].settings_dict
    before = dict(given)
    connection.close()
    given.update(to_django_config(made.orders))
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_user("anna", is_staff=True, is_superuser=True))
    yield client
    connection.close()
    given.update(before)
    drop(postgres, made)


def get(client: Client, listed: str, query: str = "") -> tuple[str, list[str]]:
    """Return the page, and its statements."""
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(f"/admin/{listed}/?{query}")
    assert answer.status_code == 200, answer
    return answer.content.decode(), [query["sql"] for query in queries.captured_queries]


def scanned_tables(statements: list[str]) -> list[str]:
    """Return the large tables that were scanned from beginning to end."""
    found = []
    for statement in statements:
        if statement.startswith(("SELECT", "WITH")) and any(table in statement for table in LARGE):
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {statement.replace('%', '%%')}", [])
                plan = "\n".join(line for (line,) in cursor.fetchall())
            found += [f"{name}:\n{plan}" for name in re.findall(r"Seq Scan on (\w+)", plan) if name in LARGE]
    return found


def rows_read(statements: list[str]) -> dict[str, int]:
    """Return how many rows each query read from tables, indexes and sorts."""
    found = {}
    for statement in statements:
        if statement.startswith(("SELECT", "WITH")) and any(table in statement for table in GROWING):
            with connection.cursor() as cursor:
                cursor.execute(
                    f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement.replace('%', '%%')}", []
                )
                found[statement] = _rows(cursor.fetchone()[0][0]["Plan"])
    return found


def _rows(node: dict[str, Any]) -> int:
    removed = sum(count for name, count in node.items() if name.startswith("Rows Removed by"))
    own = int((node["Actual Rows"] + removed) * node["Actual Loops"])
    return max([own, *(_rows(child) for child in node.get("Plans", []))])


PAGES: list[Any] = [*[(listed, "") for listed in LISTS], *FILTERS, *SEARCHES]


@pytest.mark.parametrize(("listed", "query"), PAGES)
def test_no_list_counts_or_reads_a_table_whole(listed: str, query: str, client: Client) -> None:
    html, statements = get(client, listed, query)
    assert "_facets" not in html, "a link that counts"
    assert not [statement for statement in statements if "COUNT(" in statement.upper()]
    assert not scanned_tables(statements)


@pytest.mark.parametrize(("listed", "query"), [*PAGES, *RARE])
def test_rare_rows_are_found_however_old(listed: str, query: str, client: Client) -> None:
    """On the first page and on the last: none of the newest three quarters was refused, and the open orders
    are new.
    """
    for page in (query, f"{query}&last=1"):
        _, statements = get(client, listed, page)
        assert {rows: queries for queries, rows in rows_read(statements).items() if rows > MOST_ROWS} == {}


@pytest.mark.parametrize("listed", LISTS)
def test_each_page_takes_as_many_queries_as_another(listed: str, client: Client) -> None:
    html, first = get(client, listed)
    [following] = re.findall(r'<a href="\?(\S+?)" rel="next"', html)
    _, second = get(client, listed, following.replace("&amp;", "&"))
    _, last = get(client, listed, "last=1")
    assert len(first) == len(second) == len(last)
    assert len(first) == 3 + FURTHER_QUERIES.get(listed, 0)


def test_pages_follow_each_other_without_gaps(client: Client) -> None:
    def numbers(html: str) -> list[int]:
        return [int(number) for number in re.findall(r"/admin/orders/order/(\d+)/change/", html)]

    def follow(html: str, rel: str) -> str:
        [link] = re.findall(rf'<a href="\?(\S+?)" rel="{rel}"', html)
        return get(client, "orders/order", link.replace("&amp;", "&"))[0]

    first = get(client, "orders/order")[0]
    second = follow(first, "next")
    assert numbers(first) == list(range(NEWEST, NEWEST - 50, -1))
    assert numbers(second) == list(range(NEWEST - 50, NEWEST - 100, -1))
    assert numbers(follow(second, "prev")) == numbers(first)
    last = get(client, "orders/order", "last=1")[0]
    assert numbers(last) == list(range(50, 0, -1))
    assert 'rel="next"' not in last
    assert numbers(follow(last, "prev")) == list(range(100, 50, -1))


def test_pages_of_filtered_orders_follow_each_other_too(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.id FROM orders_order o JOIN ordersaga_saga s ON s.id = saga_id WHERE ended_at IS NULL"
        )
        wanted = sorted((number for (number,) in cursor.fetchall()), reverse=True)
    for query, rel in (("open=yes", "next"), ("open=yes&last=1", "prev")):
        found: list[list[int]] = []
        links = [query]
        while links:
            html, _ = get(client, "orders/order", links[0].replace("&amp;", "&"))
            found.append([int(number) for number in re.findall(r"/admin/orders/order/(\d+)/change/", html)])
            links = re.findall(rf'<a href="\?(\S+?)" rel="{rel}"', html)
        assert len(found) > 3
        assert [number for page in (found if rel == "next" else reversed(found)) for number in page] == wanted


def test_a_page_keeps_its_filter_and_a_filter_starts_at_page_one(client: Client) -> None:
    html, _ = get(client, "orders/order", "status=ROLLED_BACK")
    [following] = re.findall(r'<a href="\?(\S+?)" rel="next"', html)
    assert "status=ROLLED_BACK" in following
    later, _ = get(client, "orders/order", following.replace("&amp;", "&"))
    assert "rolled back" in later
    assert not re.findall(r'href="\?[^"]*after=[^"]*status=CONFIRMED', later)


@pytest.mark.parametrize(
    "query",
    [
        "after=x",
        "before=",
        "after=%00",
        "participant=%00",
        "after=" + "9" * 40,
        "o=3.-1",
        "p=7",
        "status=NOPE",
        "all=",
        "e=1",
    ],
)
def test_an_invalid_list_url_is_handled(query: str, client: Client) -> None:
    for listed in LISTS:
        assert client.get(f"/admin/{listed}/?{query}").status_code in (200, 302)


def test_lists_offer_no_counting(client: Client) -> None:
    for listed in LISTS:
        html, statements = get(client, listed, "_facets=True")
        assert "Show counts" not in html
        assert not [statement for statement in statements if "COUNT(" in statement.upper()]


@pytest.mark.parametrize("listed", ["orders/saga", "orders/order", "audit/deadletter"])
def test_an_objects_page_reads_no_table_whole(listed: str, client: Client) -> None:
    html, _ = get(client, listed)
    [link] = re.findall(rf'/admin/({listed}/[^/"]+/change)/"', html)[:1]
    _, statements = get(client, link)
    assert not [statement for statement in statements if "COUNT(" in statement.upper()]
    assert not scanned_tables(statements)


def test_groups_are_read_from_their_index_alone(client: Client) -> None:
    _, statements = get(client, "audit/deadletter/groups")
    assert not scanned_tables(statements)
