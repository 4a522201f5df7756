"""Every page is opened in a browser, wide and narrow, light and dark: nothing is broken, nameless or too
wide.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import Visit
from tests.browser.dataset import World, number
from tests.browser.page_driver import NARROW, WIDE, Visitor
from tests.browser.site import OPERATOR, Site

Where = Callable[[Site, World], str]


def letter(site: Site, saga: str) -> str:
    """The page of a saga's dead letter."""
    [(id_,)] = site.installation.probe.query(
        "orders", "SELECT id FROM audit_deadletter WHERE saga_id = %s", saga
    )
    return f"/admin/audit/deadletter/{id_}/change/"


def movement(site: Site, saga: str) -> str:
    """The page of a saga's first movement of goods."""
    [(id_,)] = site.installation.probe.query(
        "inventory", "SELECT min(id) FROM movement WHERE saga_id = %s", saga
    )
    return f"/admin/books/movement/{id_}/change/"


PAGES: dict[str, tuple[str | Where, str]] = {
    "index": ("/admin/", "Orders and their sagas"),
    "orders": ("/admin/orders/order/", "Orders"),
    "no order": ("/admin/orders/order/?q=nobody", "0 orders"),
    "order": (
        lambda site, world: f"/admin/orders/order/{number(site.installation, world.confirmed[0])}/change/",
        "16.50 EUR",
    ),
    "products": ("/admin/orders/product/", "Products"),
    "product": ("/admin/orders/product/TEA/change/", "4.50 EUR"),
    "sagas": ("/admin/orders/saga/", "Sagas"),
    "a confirmed saga": (lambda _, world: f"/admin/orders/saga/{world.confirmed[0]}/change/", "StockShipped"),
    "a saga given up": (lambda _, world: f"/admin/orders/saga/{world.given_up[0]}/change/", "StepFailed"),
    "a saga in need": (lambda _, world: f"/admin/orders/saga/{world.stuck[0]}/change/", "the door is stuck"),
    "events": ("/admin/audit/sagaevent/", "Saga events"),
    "an event": ("/admin/audit/sagaevent/1/change/", "Said at"),
    "letters": ("/admin/audit/deadletter/", "Dead letters"),
    "letters in groups": ("/admin/audit/deadletter/groups/", "inventory.reserve_stock"),
    "a step's letter": (lambda site, world: letter(site, world.given_up[2]), "Traceback"),
    "a forged letter": (
        lambda _, world: f"/admin/audit/deadletter/{world.forged[0]}/change/",
        "not an envelope",
    ),
    "stock": ("/admin/books/stock/", "1000000"),
    "an article": ("/admin/books/stock/TEA/change/", "Received"),
    "movements": ("/admin/books/movement/", "shipped"),
    "a receipt": ("/admin/books/movement/1/change/", "none: a receipt"),
    "a movement": (lambda site, world: movement(site, world.confirmed[0]), "line 2: 1 × MUG, shipped since"),
    "wallets": ("/admin/books/wallet/", "limited"),
    "a wallet": ("/admin/books/wallet/limited/change/", "1.00 EUR"),
    "ledger": ("/admin/books/ledgertransaction/", "charge"),
    "a transaction": ("/admin/books/ledgertransaction/1/change/", "Entries"),
    "placing": ("/admin/orders/order/place/", "Place a test order"),
    "acting": (lambda _, world: f"/admin/orders/saga/act/resume/?id={world.stuck[0]}", "Resume saga"),
}
LOOKS = {"wide and light": (WIDE, "light"), "narrow and dark": (NARROW, "dark")}


def where(page: str | Where, site: Site, world: World) -> str:
    return page if isinstance(page, str) else page(site, world)


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_as_it_should_be(look: str, visit: Visit, site: Site, world: World) -> None:
    size, scheme = LOOKS[look]
    window = visit(OPERATOR, viewport=size, color_scheme=scheme)
    for name, (page, shows) in PAGES.items():
        window.open(where(page, site, world))
        assert shows in window.page.locator("body").inner_text(), name
        assert window.page.locator("h1").count() == 1, name


def test_the_login_lets_staff_in_and_says_what_is_wrong(visit: Visit) -> None:
    window = visit(None)
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
    ("path", "status", "says"),
    [
        ("/admin/nowhere/", 404, "leads nowhere"),
        ("/nowhere", 404, "Nothing is here"),
        ("/admin/audit/deadletter/act/discard/?id=999999", 404, "there is no such thing"),
        ("/admin/go/nobody-knows", 404, "Nothing here is called nobody-knows"),
        ("/admin/orders/order/add/", 403, "You may not do this"),
    ],
)
def test_what_is_not_there_or_not_allowed_is_told_in_words(
    path: str, status: int, says: str, olga: Visitor
) -> None:
    olga.open(path, status)
    assert says in olga.page.locator("body").inner_text()


def test_from_an_order_to_its_lines_its_saga_its_story_its_goods_and_its_money(
    olga: Visitor, site: Site, world: World
) -> None:
    order = number(site.installation, world.retried)
    olga.open("/admin/")
    olga.follow(olga.page.locator("#content-main").get_by_role("link", name="Orders", exact=True).last)
    olga.page.locator("#searchbar").fill(str(order))
    olga.press("Search")
    olga.follow(str(order))
    assert "FAILS-TWICE" in olga.page.locator("#lines-group").inner_text()
    assert olga.field("status") == "confirmed"

    olga.follow(world.retried)
    assert [olga.field(name) for name in ("waits_for", "reached")] == ["nobody: it has ended", "StockShipped"]
    assert olga.story() == [
        "OrderPlaced",
        "failed",
        "failed",
        "StockReserved",
        "PaymentCharged",
        "OrderConfirmed",
        "StockShipped",
        "complete",
    ]
    told = olga.page.locator("#story tbody tr").nth(2)
    assert "InjectedFault: not yet" in told.inner_text()
    assert told.locator("td").nth(4).inner_text() == "2"
    assert olga.page.locator("#story tbody td:first-child").first.inner_text().startswith("+0.")

    olga.follow("its goods")
    assert set(olga.column("kind")) == {"held", "shipped"}
    olga.page.go_back()
    olga.follow("its money")
    assert olga.column("amount") == ["1.00 EUR"]
    olga.page.go_back()
    olga.follow("what was said of it")
    assert olga.rows() == 8


def test_a_dead_letter_shows_traceback_and_payload_and_leads_to_its_saga(
    olga: Visitor, site: Site, world: World
) -> None:
    olga.open("/admin/audit/deadletter/groups/")
    row = olga.page.get_by_role("row").filter(has_text="inventory.reserve_stock")
    assert int(row.locator("td").nth(2).inner_text()) >= 1
    olga.follow(row.get_by_role("link"))
    assert set(olga.column("where")) == {"inventory.reserve_stock"}
    olga.follow(olga.page.locator(f'#result_list a[href^="{letter(site, world.given_up[2])}"]'))
    assert "raise InjectedFault" in olga.field("shown_traceback")
    assert '"FAILS"' in olga.field("shown_body")
    olga.follow(olga.page.locator(".field-its_saga a"))
    assert "StepFailed" in olga.story()
    assert olga.page.locator("#letters tbody tr").count() == 1
