"""Lists in a browser: what is looked for is found, filters filter, and pages lead forwards, backwards and to
the end.
"""

from __future__ import annotations

import pytest

from tests.browser.dataset import World, number
from tests.browser.page_driver import Visitor
from tests.browser.site import Site


@pytest.fixture
def terms(site: Site, world: World) -> dict[str, str]:
    """Whatever somebody may hold in hand of one saga; its step was tried again, so that it had a task to
    itself.
    """
    task = "SELECT task_id FROM audit_sagaevent WHERE saga_id = %s AND name = 'StockReserved'"
    event = "SELECT event_id::text FROM audit_sagaevent WHERE saga_id = %s AND name = 'StockReserved'"
    probe, saga = site.installation.probe, world.retried
    return {
        "order": str(number(site.installation, saga)),
        "saga": saga,
        "task": str(probe.query("orders", task, saga)[0][0]),
        "event": str(probe.query("orders", event, saga)[0][0]),
    }


@pytest.mark.parametrize("listed", ["order", "saga"])
@pytest.mark.parametrize("by", ["order", "saga", "task", "event"])
def test_an_order_and_its_saga_are_found_by(
    by: str, listed: str, olga: Visitor, terms: dict[str, str]
) -> None:
    olga.open(f"/admin/orders/{listed}/")
    olga.page.locator("#searchbar").fill(terms[by])
    olga.press("Search")
    assert olga.column("id" if listed == "order" else "shown_id") == [terms[listed]]


def test_a_customer_is_found_by_how_the_name_begins(olga: Visitor) -> None:
    olga.open("/admin/orders/order/")
    olga.page.locator("#searchbar").fill("poo")
    olga.press("Search")
    assert set(olga.column("shown_customer")) == {"poor"}
    assert olga.rows() == 3
    olga.follow("show all")
    assert olga.rows() == 50


FILTERS = [
    ("order", "status", "rolled back", "status", {"rolled back"}),
    ("order", "status", "confirmed", "status", {"confirmed"}),
    ("order", "open", "under way", "status", {"pending", "rolling back"}),
    ("saga", "status", "rolling back", "status_and_stand", {"rolling back"}),
    ("saga", "attention", "needed", "status_and_stand", {"rolling back"}),
    ("saga", "refusal", "OutOfStock", "why", {"Out of stock: GONE"}),
]


@pytest.mark.parametrize(
    ("listed", "by", "choice", "column", "shown"),
    FILTERS,
    ids=[f"{one[0]} {one[1]} {one[2]}" for one in FILTERS],
)
def test_a_filter_shows_what_it_says(
    listed: str, by: str, choice: str, column: str, shown: set[str], olga: Visitor
) -> None:
    olga.open(f"/admin/orders/{listed}/")
    filters = olga.page.locator(f'details[data-filter-title="{by}"]')
    olga.follow(filters.get_by_role("link", name=choice, exact=True))
    found = {text.splitlines()[0] for text in olga.column(column)}
    assert found
    assert found <= shown


def test_events_and_letters_are_filtered_and_found(olga: Visitor, site: Site, world: World) -> None:
    olga.open("/admin/audit/sagaevent/")
    olga.follow("refusal")
    assert set(olga.column("kind")) == {"refusal"}
    olga.open(f"/admin/audit/sagaevent/?q={number(site.installation, world.gone)}")
    assert "OutOfStock" in olga.column("what")
    olga.open("/admin/audit/deadletter/")
    olga.follow("the broker gave the message up")
    assert set(olga.column("where")) == {"OrderPlaced"}
    olga.open(f"/admin/audit/deadletter/?q={world.given_up[2]}")
    assert olga.rows() == 1


@pytest.mark.parametrize(
    "path", ["orders/order", "audit/sagaevent", "books/movement", "books/ledgertransaction"]
)
def test_pages_lead_forwards_backwards_and_to_both_ends(path: str, olga: Visitor) -> None:
    def ids() -> list[int]:
        return [int(text) for text in olga.column("id")]

    olga.open(f"/admin/{path}/")
    first = ids()
    olga.follow("next")
    second = ids()
    assert len(first) == len(second) == 50
    assert first[-1] > second[0]
    olga.follow("previous")
    assert ids() == first
    olga.follow("last")
    assert ids()[-1] == 1
    assert olga.page.get_by_role("link", name="next").count() == 0
    olga.follow("first")
    assert ids()[-1] == first[-1] or path == "audit/sagaevent"  # of which there are more meanwhile


def test_nobody_is_offered_to_count_or_to_sort_a_million_rows(olga: Visitor) -> None:
    olga.open("/admin/orders/order/?_facets=True")
    assert olga.page.get_by_text("Show counts").count() == olga.page.get_by_text("Hide counts").count() == 0
    assert olga.page.locator("th.sortable").count() == 0
