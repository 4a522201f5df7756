"""Opens every page in a browser, wide and narrow, light and dark, and checks it for faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import OpenAs
from tests.browser.dataset import Dataset, order_number
from tests.browser.page_driver import NARROW, WIDE, PageDriver
from tests.browser.site import OPERATOR, Site

UrlOf = Callable[[Site, Dataset], str]


def dead_letter_url(site: Site, saga: str) -> str:
    [(id_,)] = site.installation.probe.query(
        "orders", "SELECT id FROM audit_deadletter WHERE saga_id = %s", saga
    )
    return f"/admin/audit/deadletter/{id_}/change/"


def movement_url(site: Site, saga: str) -> str:
    """Return the URL of a saga's first stock movement."""
    [(id_,)] = site.installation.probe.query(
        "inventory", "SELECT min(id) FROM movement WHERE saga_id = %s", saga
    )
    return f"/admin/mirrors/movement/{id_}/change/"


PAGES: dict[str, tuple[str | UrlOf, str]] = {
    "index": ("/admin/", "Orders and their sagas"),
    "orders": ("/admin/orders/order/", "Orders"),
    "no order": ("/admin/orders/order/?q=nobody", "0 orders"),
    "order": (
        lambda site, dataset: (
            f"/admin/orders/order/{order_number(site.installation, dataset.confirmed[0])}/change/"
        ),
        "16.50 EUR",
    ),
    "products": ("/admin/orders/product/", "Products"),
    "product": ("/admin/orders/product/TEA/change/", "4.50 EUR"),
    "sagas": ("/admin/orders/saga/", "Sagas"),
    "a confirmed saga": (
        lambda _, dataset: f"/admin/orders/saga/{dataset.confirmed[0]}/change/",
        "StockShipped",
    ),
    "a saga given up": (lambda _, dataset: f"/admin/orders/saga/{dataset.given_up[0]}/change/", "StepFailed"),
    "a saga in need": (lambda _, dataset: f"/admin/orders/saga/{dataset.stuck[0]}/change/", "the undo fails"),
    "events": ("/admin/audit/sagaevent/", "Saga events"),
    "an event": ("/admin/audit/sagaevent/1/change/", "Emitted"),
    "dead letters": ("/admin/audit/deadletter/", "Dead letters"),
    "dead letters in groups": ("/admin/audit/deadletter/groups/", "inventory.reserve_stock"),
    "a step's dead letter": (lambda site, dataset: dead_letter_url(site, dataset.given_up[2]), "Traceback"),
    "a forged dead letter": (
        lambda _, dataset: f"/admin/audit/deadletter/{dataset.forged[0]}/change/",
        "not an envelope",
    ),
    "stock": ("/admin/mirrors/stock/", "1000000"),
    "an article": ("/admin/mirrors/stock/TEA/change/", "Received"),
    "movements": ("/admin/mirrors/movement/", "shipped"),
    "a receipt": ("/admin/mirrors/movement/1/change/", "none: received goods"),
    "a movement": (
        lambda site, dataset: movement_url(site, dataset.confirmed[0]),
        "line 2: 1 × MUG, shipped since",
    ),
    "wallets": ("/admin/mirrors/wallet/", "limited"),
    "a wallet": ("/admin/mirrors/wallet/limited/change/", "1.00 EUR"),
    "ledger": ("/admin/mirrors/ledgertransaction/", "charge"),
    "a transaction": ("/admin/mirrors/ledgertransaction/1/change/", "Entries"),
    "placing": ("/admin/orders/order/place/", "Place a test order"),
    "acting": (lambda _, dataset: f"/admin/orders/saga/act/resume/?id={dataset.stuck[0]}", "Resume saga"),
}
LOOKS = {"wide and light": (WIDE, "light"), "narrow and dark": (NARROW, "dark")}


def url_of(page: str | UrlOf, site: Site, dataset: Dataset) -> str:
    return page if isinstance(page, str) else page(site, dataset)


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_renders_without_faults(look: str, open_as: OpenAs, site: Site, dataset: Dataset) -> None:
    size, scheme = LOOKS[look]
    window = open_as(OPERATOR, viewport=size, color_scheme=scheme)
    for name, (page, shows) in PAGES.items():
        window.open(url_of(page, site, dataset))
        assert shows in window.page.locator("body").inner_text(), name
        assert window.page.locator("h1").count() == 1, name


def test_the_login_accepts_staff_and_explains_a_failure(open_as: OpenAs) -> None:
    window = open_as(None)
    window.open("/admin/orders/order/")
    assert window.path == "/admin/login/"
    window.page.get_by_label("Username").fill(OPERATOR)
    window.page.get_by_label("Password").fill("a guess")
    window.press("Log in")
    assert "Please enter the correct username and password" in window.page.locator(".errornote").inner_text()
    window.name = OPERATOR
    window.log_in()
    assert window.path == "/admin/orders/order/"
    window.press("Log out")
    window.open("/admin/")
    assert window.path == "/admin/login/"


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/admin/nowhere/", 404, "No page exists at"),
        ("/nowhere", 404, "Page not found"),
        ("/admin/audit/deadletter/act/discard/?id=999999", 404, "no such dead letter"),
        ("/admin/go/unknown-id", 404, "No record matches unknown-id"),
        ("/admin/orders/order/add/", 403, "Permission denied"),
    ],
)
def test_missing_and_forbidden_pages_explain_themselves(
    path: str, status: int, message: str, operator: PageDriver
) -> None:
    operator.open(path, status)
    assert message in operator.page.locator("body").inner_text()


def test_an_order_links_to_its_saga_timeline_stock_and_ledger(
    operator: PageDriver, site: Site, dataset: Dataset
) -> None:
    order = order_number(site.installation, dataset.retried)
    operator.open("/admin/")
    operator.follow(
        operator.page.locator("#content-main").get_by_role("link", name="Orders", exact=True).last
    )
    operator.page.locator("#searchbar").fill(str(order))
    operator.press("Search")
    operator.follow(str(order))
    assert "FAILS-TWICE" in operator.page.locator("#lines-group").inner_text()
    assert operator.field("status") == "confirmed"

    operator.follow(dataset.retried)
    assert [operator.field(name) for name in ("waits_for", "reached")] == [
        "nothing: the saga has ended",
        "StockShipped",
    ]
    assert operator.timeline() == [
        "OrderPlaced",
        "failed",
        "failed",
        "StockReserved",
        "PaymentCharged",
        "OrderConfirmed",
        "StockShipped",
        "complete",
    ]
    messages = operator.page.locator("#timeline tbody tr").nth(2)
    assert "InjectedFault: not yet" in messages.inner_text()
    assert messages.locator("td").nth(4).inner_text() == "2"
    assert operator.page.locator("#timeline tbody td:first-child").first.inner_text().startswith("+0.")

    operator.follow("movements of stock")
    assert set(operator.column("kind")) == {"held", "shipped"}
    operator.page.go_back()
    operator.follow("ledger transactions")
    assert operator.column("amount") == ["1.00 EUR"]
    operator.page.go_back()
    operator.follow("events of this saga")
    assert operator.rows() == 8


def test_a_dead_letter_shows_its_traceback_payload_and_saga(
    operator: PageDriver, site: Site, dataset: Dataset
) -> None:
    operator.open("/admin/audit/deadletter/groups/")
    row = operator.page.get_by_role("row").filter(has_text="inventory.reserve_stock")
    assert int(row.locator("td").nth(2).inner_text()) >= 1
    operator.follow(row.get_by_role("link"))
    assert set(operator.column("where")) == {"inventory.reserve_stock"}
    operator.follow(
        operator.page.locator(f'#result_list a[href^="{dead_letter_url(site, dataset.given_up[2])}"]')
    )
    assert "raise InjectedFault" in operator.field("shown_traceback")
    assert '"FAILS"' in operator.field("shown_body")
    operator.follow(operator.page.locator(".field-its_saga a"))
    assert "StepFailed" in operator.timeline()
    assert operator.page.locator("#dead-letters tbody tr").count() == 1
