"""Stock and ledger in the admin, read by read-only roles; an unreadable database shows a message."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import InternalError, ProgrammingError, connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support import bulk_data
from tests.support.databases import OWNERS, Databases, copies, drop
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from webapp.db import to_django_config
from webapp.mirrors.models import LedgerTransaction, Stock, Wallet
from webapp.mirrors.router import ReadOnlyMirror, reader_alias, reader_config
from workers.settings import read

ORDERS = 2_000
LISTS = ["stock", "movement", "wallet", "ledgertransaction"]
READER = "ordersaga_reader"


@pytest.fixture(scope="module")
def databases(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[Databases]:
    """Three databases with some orders; a role that may only read two of them."""
    made = copies(postgres, database_templates)
    bulk_data.fill(ORDERS, [getattr(made, owner) for owner in OWNERS])
    postgres.create_role(READER)
    for database in (url.rpartition("/")[2] for url in (made.inventory, made.payments)):
        with postgres.connect(database) as cursor:
            cursor.execute(f"GRANT CONNECT ON DATABASE {database} TO {READER}")
            cursor.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
    yield made
    drop(postgres, made)


@pytest.fixture
def client(databases: Databases, postgres: Postgres) -> Iterator[Client]:
    aliases = {"default": to_django_config(databases.orders)}
    for domain in ("inventory", "payments"):
        database = getattr(databases, domain).rpartition("/")[2]
        aliases[reader_alias(domain)] = reader_config(postgres.url(database, READER))
    before = {name: dict(connections[name].settings_dict) for name in aliases}
    set_connections(aliases)
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get_or_create(username="anna", is_staff=True, is_superuser=True)[0])
    yield client
    set_connections(before)


def set_connections(aliases: dict[str, dict[str, object]]) -> None:
    for name, given in aliases.items():
        connections[name].close()
        connections[name].settings_dict.update(given)


def page(client: Client, path: str, **query: str) -> str:
    answer = client.get(f"/admin/mirrors/{path}", query)
    assert answer.status_code == 200
    return re.sub(r"<span[^>]*>|</span>", "", answer.content.decode())


def test_stock_shows_the_state_of_every_unit(client: Client) -> None:
    product = Stock.objects.get(pk="SKU-7")
    html = page(client, "stock/", q="SKU-7")
    assert [
        f'field-{name}">{getattr(product, name)}<' in html for name in ("on_hand", "sold", "received")
    ] == [True] * 3
    assert "1 result" in html
    assert "0 results" in page(client, "stock/", q="SKU-")


def test_a_sagas_stock_and_ledger_are_found_by_its_order(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT saga_id, amount FROM orders_order WHERE id = 77")
        saga, amount = cursor.fetchone()
    for term in ("77", str(saga)):
        assert f"/admin/orders/saga/{saga}/change/" in page(client, "movement/", q=term)
        assert f"{amount / 100:,.2f} EUR" in page(client, "ledgertransaction/", q=term)
    assert "shipped since" in page(
        client, re.findall(r"/admin/mirrors/(movement/\d+/change/)", page(client, "movement/", q="77"))[0]
    )
    ledger = page(
        client,
        re.findall(
            r"/admin/mirrors/(ledgertransaction/\d+/change/)", page(client, "ledgertransaction/", q="77")
        )[0],
    )
    assert "wallet:customer-77:" in ledger
    assert f"-{amount / 100:,.2f} EUR" in ledger
    assert "0 results" in page(client, "movement/", q="nonsense")
    saga_page = client.get(f"/admin/orders/saga/{saga}/change/").content.decode()
    assert f"/admin/mirrors/movement/?q={saga}" in saga_page


def test_a_ledger_transaction_is_described_in_words(client: Client) -> None:
    top_up = LedgerTransaction.objects.filter(kind="top_up").latest("id")
    html = page(client, f"ledgertransaction/{top_up.pk}/change/")
    assert f"top up {top_up.pk}" in html
    assert '<div class="readonly">top up</div>' in html
    assert 'field-what">top up<' in page(client, "ledgertransaction/", last="1")
    assert "top_up" not in html


@pytest.mark.parametrize("listed", LISTS)
def test_a_list_does_not_count_and_later_pages_cost_the_same(listed: str, client: Client) -> None:
    domain = reader_alias("inventory" if listed in ("stock", "movement") else "payments")
    asked = []
    for query in ({}, {"last": "1"}):
        with CaptureQueriesContext(connections[domain]) as captured:
            html = page(client, f"{listed}/", **query)
        assert not [query for query in captured.captured_queries if "COUNT(" in query["sql"].upper()]
        asked.append(len(captured))
    assert asked == [1, 1]
    assert "Traceback" not in html


@pytest.mark.parametrize("listed", LISTS)
def test_adding_changing_and_deleting_are_forbidden(listed: str, client: Client) -> None:
    html = page(client, f"{listed}/")
    thing = re.findall(rf"/admin/mirrors/({listed}/[^/]+)/change/", html)[0]
    assert client.get(f"/admin/mirrors/{thing}/change/").status_code == 200
    assert client.post(f"/admin/mirrors/{thing}/change/", {}).status_code == 403
    assert client.post(f"/admin/mirrors/{thing}/delete/", {"post": "yes"}).status_code == 403
    assert client.get(f"/admin/mirrors/{listed}/add/").status_code == 403


def test_a_user_without_view_permission_gets_403(client: Client) -> None:
    guest = Client(SERVER_NAME="localhost")
    guest.force_login(User.objects.get_or_create(username="guest", is_staff=True)[0])
    assert [guest.get(f"/admin/mirrors/{listed}/").status_code for listed in LISTS] == [403] * len(LISTS)


def test_mirrors_cannot_be_written_by_django_or_sql(client: Client, databases: Databases) -> None:
    with pytest.raises(ReadOnlyMirror):
        Stock.objects.filter(pk="SKU-7").update(sold=0)
    with pytest.raises(ReadOnlyMirror):
        Wallet(customer="thief", currency="EUR", balance=1, blocked=False).save()
    with (
        pytest.raises((InternalError, ProgrammingError)),
        connections[reader_alias("payments")].cursor() as cursor,
    ):
        cursor.execute("UPDATE wallet SET balance = 10^12 WHERE customer = 'customer-1'")


def test_a_participants_own_role_can_only_read_here(client: Client, databases: Databases) -> None:
    set_connections({reader_alias("payments"): reader_config(databases.payments)})
    with (
        pytest.raises(InternalError, match="read-only"),
        connections[reader_alias("payments")].cursor() as cursor,
    ):
        cursor.execute("UPDATE wallet SET balance = 10^12 WHERE customer = 'customer-1'")


def test_an_unreachable_database_shows_a_message(client: Client) -> None:
    set_connections(
        {
            reader_alias("inventory"): reader_config(
                f"postgresql://nobody:secret-word@127.0.0.1:{free_port()}/stock"
            )
        }
    )
    for path in ("stock/", "movement/", "stock/SKU-7/change/"):
        answer = client.get(f"/admin/mirrors/{path}")
        html = answer.content.decode()
        assert answer.status_code == 503
        assert "The inventory database cannot be read" in html
        assert "ORDERSAGA_INVENTORY_READER_URL" in html
        assert "secret-word" not in html
    assert client.get("/admin/mirrors/wallet/").status_code == 200
    assert client.get("/admin/orders/order/").status_code == 200


def test_a_missing_grant_or_table_shows_a_message(client: Client, databases: Databases) -> None:
    set_connections(
        {reader_alias("inventory"): reader_config(databases.orders)}
    )  # a database without stock tables
    answer = client.get("/admin/mirrors/stock/")
    assert answer.status_code == 503
    assert "manage.py migrate" in answer.content.decode()


def test_production_reads_nothing_until_a_reader_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read().reader_url("inventory") == read().inventory_database_url
    given = read(inventory_reader_url="postgresql://reader@db/stock")
    assert given.reader_url("inventory") == "postgresql://reader@db/stock"
    assert given.model_copy(update={"env": "production"}).reader_url("payments") is None


def test_without_a_reader_the_page_names_the_setting(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(connections.settings, reader_alias("inventory"))
    connections[reader_alias("inventory")].close()
    del connections[reader_alias("inventory")]
    answer = client.get("/admin/mirrors/stock/")
    assert answer.status_code == 503
    assert "ORDERSAGA_INVENTORY_READER_URL" in answer.content.decode()
    monkeypatch.undo()
