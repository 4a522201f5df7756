"""Lists stay quick however long they are: nothing is counted, no table is read whole, no page asks more than another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.stage import support_million
from tests.support.databases import copies, drop
from tests.support.postgres import Postgres
from webapp.database_url import django_database

ORDERS = 20_000
LARGE = ("orders_order", "ordersaga_saga", "ordersaga_outbox", "audit_sagaevent", "audit_deadletter", "orders_product")
OUTCOMES = """LATERAL (SELECT CASE n % 900 WHEN 0 THEN 'replayed' WHEN 1 THEN 'discarded' END AS outcome,
    CASE WHEN n % 900 < 2 THEN now() END AS at, CASE WHEN n % 900 < 2 THEN 'staff 1' END AS by) AS o"""
# Beside the settled: some of all that is rare, so that each filter has something to find, and a hard time finding it.
RARE = f"""
UPDATE ordersaga_saga SET ended_at = NULL, attention = 'stuck' WHERE id IN (
    SELECT id FROM ordersaga_saga WHERE status = 'CONFIRMED' ORDER BY id LIMIT 3);
INSERT INTO audit_deadletter (source, key, participant, saga_id, step, topic, error, message, traceback, body, digest, headers,
    attempts, outcome, settled_at, settled_by, settled_why)
SELECT CASE n % 400 WHEN 0 THEN 'broker' WHEN 1 THEN 'unheard' ELSE 'participant' END, md5(n::text),
    CASE n % 500 WHEN 0 THEN 'loyalty' ELSE 'inventory' END, gen_random_uuid(),
    CASE n % 300 WHEN 0 THEN NULL WHEN 1 THEN 'a.b' ELSE 'inventory.reserve_stock' END, 'signal.OrderPlaced',
    CASE n % 700 WHEN 0 THEN 'ValueError' ELSE 'RuntimeError' END, 'no shelf', repeat('traceback ', 50), 'body',
    md5(n::text), '{{}}', 5, o.outcome, o.at, o.by, o.by
FROM generate_series(1, 20000) AS n, {OUTCOMES};
INSERT INTO orders_product SELECT 'P-' || n, 'Thing ' || n, 100, 'EUR' FROM generate_series(1, 20000) AS n;
"""
LISTS = ["orders/order", "orders/saga", "orders/product", "audit/sagaevent", "audit/deadletter"]
FILTERS = [
    *[(f"orders/{kind}", f"status={status}") for kind in ("order", "saga")
      for status in ("PENDING", "CONFIRMED", "ROLLING_BACK", "ROLLED_BACK")],
    *[(f"orders/{kind}", query) for kind in ("order", "saga") for query in ("open=yes", "open=no", "attention=yes")],
    *[("orders/saga", f"refusal={name}") for name in ("OutOfStock", "OrderCancelled", "NothingOfTheKind")],
    *[("audit/sagaevent", f"kind={kind}") for kind in ("signal", "refusal", "answer", "notice", "attention")],
    ("audit/sagaevent", "again=yes"),
    *[("audit/deadletter", f"outcome={outcome}") for outcome in ("open", "replayed", "discarded", "all")],
    *[("audit/deadletter", f"source={source}") for source in ("participant", "broker", "unheard")],
    *[("audit/deadletter", f"outcome=all&{query}") for query in
      ("source=broker", "participant=loyalty", "participant=inventory", "step=a.b", "step=", "error=ValueError")],
    ("audit/deadletter", "error=ValueError&step=a.b&participant=loyalty"),
]  # fmt: skip
FURTHER_QUERIES = {"orders/saga": 3, "audit/deadletter": 3}
"""Which values a filter has, and whom sagas wait for; the session, the user and the list itself are three more."""
TASK = "01999999-9999-7999-8999-999999999999"
SEARCHES = [
    *[(f"orders/{kind}", f"q={term}") for kind in ("order", "saga") for term in ("77", "customer-7", "cust", "nobody", TASK)],
    *[("audit/sagaevent", f"q={term}") for term in ("77", TASK)],
    *[("audit/deadletter", f"q={term}&outcome={outcome}") for term in ("77", TASK, "abc") for outcome in ("open", "all")],
    *[("orders/product", f"q={term}") for term in ("P-77", "Thing 7", "none")],
]


@pytest.fixture(scope="module")
def client(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[Client]:
    """Staff before a shop whose books hold 20,000 orders; nothing here changes them."""
    made = copies(postgres, database_templates)
    support_million.fill_orders(ORDERS, made.orders, RARE)
    given = connections["default"].settings_dict
    before = dict(given)
    connection.close()
    given.update(django_database(made.orders))
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_user("anna", is_staff=True, is_superuser=True))
    yield client
    connection.close()
    given.update(before)
    drop(postgres, made)


def get(client: Client, listed: str, query: str = "") -> tuple[str, list[str]]:
    """The page, and the statements it took."""
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(f"/admin/{listed}/?{query}")
    assert answer.status_code == 200, answer
    return answer.content.decode(), [query["sql"] for query in asked.captured_queries]


def read_whole(statements: list[str]) -> list[str]:
    """The large tables that were read from beginning to end."""
    found = []
    for statement in statements:
        if statement.startswith(("SELECT", "WITH")) and any(table in statement for table in LARGE):
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {statement.replace('%', '%%')}", [])
                plan = "\n".join(line for (line,) in cursor.fetchall())
            found += [f"{name}:\n{plan}" for name in re.findall(r"Seq Scan on (\w+)", plan) if name in LARGE]
    return found


@pytest.mark.parametrize(("listed", "query"), [*[(listed, "") for listed in LISTS], *FILTERS, *SEARCHES])
def test_no_list_counts_or_reads_a_table_whole(listed: str, query: str, client: Client) -> None:
    _, statements = get(client, listed, query)
    assert not [statement for statement in statements if "COUNT(" in statement.upper()]
    assert not read_whole(statements)


@pytest.mark.parametrize("listed", LISTS)
def test_each_page_takes_as_many_queries_as_another(listed: str, client: Client) -> None:
    html, first = get(client, listed)
    [following] = re.findall(r'<a href="\?(\S+?)" rel="next"', html)
    _, second = get(client, listed, following.replace("&amp;", "&"))
    _, last = get(client, listed, "last=1")
    assert len(first) == len(second) == len(last)
    assert len(first) == 3 + FURTHER_QUERIES.get(listed, 0)


def test_pages_follow_one_another_forwards_and_backwards_without_gaps(client: Client) -> None:
    def numbers(html: str) -> list[int]:
        return [int(number) for number in re.findall(r"/admin/orders/order/(\d+)/change/", html)]

    def follow(html: str, rel: str) -> str:
        [link] = re.findall(rf'<a href="\?(\S+?)" rel="{rel}"', html)
        return get(client, "orders/order", link.replace("&amp;", "&"))[0]

    first = get(client, "orders/order")[0]
    second = follow(first, "next")
    assert numbers(first) == list(range(ORDERS, ORDERS - 50, -1))
    assert numbers(second) == list(range(ORDERS - 50, ORDERS - 100, -1))
    assert numbers(follow(second, "prev")) == numbers(first)
    last = get(client, "orders/order", "last=1")[0]
    assert numbers(last) == list(range(50, 0, -1))
    assert 'rel="next"' not in last
    assert numbers(follow(last, "prev")) == list(range(100, 50, -1))


def test_a_page_keeps_its_filter_and_a_filter_begins_at_its_first_page(client: Client) -> None:
    html, _ = get(client, "orders/order", "status=ROLLED_BACK")
    [following] = re.findall(r'<a href="\?(\S+?)" rel="next"', html)
    assert "status=ROLLED_BACK" in following
    later, _ = get(client, "orders/order", following.replace("&amp;", "&"))
    assert "rolled back" in later
    assert not re.findall(r'href="\?[^"]*after=[^"]*status=CONFIRMED', later)


@pytest.mark.parametrize(
    "query",
    ["after=x", "before=", "after=%00", "participant=%00", "after=" + "9" * 40, "o=3.-1", "p=7", "status=NOPE", "all=", "e=1"],
)
def test_an_address_that_somebody_made_up_breaks_nothing(query: str, client: Client) -> None:
    for listed in LISTS:
        assert client.get(f"/admin/{listed}/?{query}").status_code in (200, 302)


def test_nobody_is_offered_to_count(client: Client) -> None:
    for listed in LISTS:
        html, statements = get(client, listed, "_facets=True")
        assert "Show counts" not in html
        assert not [statement for statement in statements if "COUNT(" in statement.upper()]


PAGES: list[Any] = ["orders/saga", "orders/order", "audit/deadletter"]


@pytest.mark.parametrize("listed", PAGES)
def test_a_things_page_reads_no_table_whole(listed: str, client: Client) -> None:
    html, _ = get(client, listed)
    [link] = re.findall(rf'/admin/({listed}/[^/"]+/change)/"', html)[:1]
    _, statements = get(client, link)
    assert not [statement for statement in statements if "COUNT(" in statement.upper()]
    assert not read_whole(statements)


def test_groups_are_read_from_their_index_alone(client: Client) -> None:
    _, statements = get(client, "audit/deadletter/groups")
    assert not read_whole(statements)
