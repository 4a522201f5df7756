"""Lists in a browser: search, filters, and the links between pages."""

from __future__ import annotations

import pytest

from tests.browser.dataset import Dataset, order_number
from tests.browser.page_driver import PageDriver
from tests.browser.site import Site


@pytest.fixture
def terms(site: Site, dataset: Dataset) -> dict[str, str]:
    """The ids by which a saga can be searched. Its step was retried, so that its task has no other saga."""
    task = "SELECT task_id FROM audit_sagaevent WHERE saga_id = %s AND name = 'StockReserved'"
    event = "SELECT event_id::text FROM audit_sagaevent WHERE saga_id = %s AND name = 'StockReserved'"
    probe, saga = site.installation.probe, dataset.retried
    return {
        "order": str(order_number(site.installation, saga)),
        "saga": saga,
        "task": str(probe.query("orders", task, saga)[0][0]),
        "event": str(probe.query("orders", event, saga)[0][0]),
    }


@pytest.mark.parametrize("listed", ["order", "saga"])
@pytest.mark.parametrize("by", ["order", "saga", "task", "event"])
def test_an_order_and_its_saga_are_found_by_any_id(
    by: str, listed: str, operator: PageDriver, terms: dict[str, str]
) -> None:
    operator.open(f"/admin/orders/{listed}/")
    operator.page.locator("#searchbar").fill(terms[by])
    operator.press("Search")
    assert operator.column("id" if listed == "order" else "shown_id") == [terms[listed]]


def test_a_customer_is_found_by_a_prefix(operator: PageDriver) -> None:
    operator.open("/admin/orders/order/")
    operator.page.locator("#searchbar").fill("poo")
    operator.press("Search")
    assert set(operator.column("shown_customer")) == {"poor"}
    assert operator.rows() == 3
    operator.follow("show all")
    assert operator.rows() == 50


FILTERS = [
    ("order", "status", "rolled back", "status", {"rolled back"}),
    ("order", "status", "confirmed", "status", {"confirmed"}),
    ("order", "open", "in progress", "status", {"pending", "rolling back"}),
    ("saga", "status", "rolling back", "status_and_stand", {"rolling back"}),
    ("saga", "attention", "needed", "status_and_stand", {"rolling back"}),
    ("saga", "refusal", "OutOfStock", "why", {"Out of stock: GONE"}),
]


@pytest.mark.parametrize(
    ("listed", "by", "choice", "column", "shown"),
    FILTERS,
    ids=[f"{one[0]} {one[1]} {one[2]}" for one in FILTERS],
)
def test_a_filter_shows_only_matching_rows(
    listed: str, by: str, choice: str, column: str, shown: set[str], operator: PageDriver
) -> None:
    operator.open(f"/admin/orders/{listed}/")
    filters = operator.page.locator(f'details[data-filter-title="{by}"]')
    operator.follow(filters.get_by_role("link", name=choice, exact=True))
    found = {text.splitlines()[0] for text in operator.column(column)}
    assert found
    assert found <= shown


def test_events_and_dead_letters_are_filtered_and_found(
    operator: PageDriver, site: Site, dataset: Dataset
) -> None:
    operator.open("/admin/audit/sagaevent/")
    operator.follow("refusal")
    assert set(operator.column("kind")) == {"refusal"}
    operator.open(f"/admin/audit/sagaevent/?q={order_number(site.installation, dataset.gone)}")
    assert "OutOfStock" in operator.column("what")
    operator.open("/admin/audit/deadletter/")
    operator.follow("message given up by the broker")
    assert set(operator.column("where")) == {"OrderPlaced"}
    operator.open(f"/admin/audit/deadletter/?q={dataset.given_up[2]}")
    assert operator.rows() == 1


@pytest.mark.parametrize(
    "path", ["orders/order", "audit/sagaevent", "mirrors/movement", "mirrors/ledgertransaction"]
)
def test_pagination_links_lead_to_all_pages(path: str, operator: PageDriver) -> None:
    def ids() -> list[int]:
        return [int(text) for text in operator.column("id")]

    operator.open(f"/admin/{path}/")
    first = ids()
    operator.follow("next")
    second = ids()
    assert len(first) == len(second) == 50
    assert first[-1] > second[0]
    operator.follow("previous")
    assert ids() == first
    operator.follow("last")
    assert ids()[-1] == 1
    assert operator.page.get_by_role("link", name="next").count() == 0
    operator.follow("first")
    assert ids()[-1] == first[-1] or path == "audit/sagaevent"  # the audit adds events meanwhile


def test_lists_offer_no_counting_and_no_sorting(operator: PageDriver) -> None:
    operator.open("/admin/orders/order/?_facets=True")
    assert (
        operator.page.get_by_text("Show counts").count()
        == operator.page.get_by_text("Hide counts").count()
        == 0
    )
    assert operator.page.locator("th.sortable").count() == 0
