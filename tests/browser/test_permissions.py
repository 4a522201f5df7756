"""Users without permissions are offered no action, and are refused pages and actions."""

from __future__ import annotations

import pytest

from tests.browser.conftest import OpenAs
from tests.browser.dataset import Dataset, order_number
from tests.browser.site import CUSTOMER, NEWCOMER, READER, Site
from tests.browser.test_pages import PAGES, url_of

BUTTONS = ("Place a test order", "Cancel …", "Resume …", "Replay …", "Discard …")


@pytest.fixture
def action_urls(site: Site, dataset: Dataset) -> dict[str, str]:
    """The URL of each action, on an object that allows it."""
    order, dead_letter = order_number(site.installation, dataset.stuck[1]), dataset.forged[0]
    return {
        "place": "/admin/orders/order/place/",
        "cancel": f"/admin/orders/order/act/cancel/?id={order}",
        "resume": f"/admin/orders/saga/act/resume/?id={dataset.stuck[1]}",
        "replay": f"/admin/audit/deadletter/act/replay/?id={dead_letter}",
        "discard": f"/admin/audit/deadletter/act/discard/?id={dead_letter}",
    }


def test_a_reader_is_offered_no_action(open_as: OpenAs, site: Site, dataset: Dataset) -> None:
    rita = open_as(READER)
    for name in ("orders", "order", "sagas", "a saga in need", "dead letters", "a forged dead letter"):
        rita.open(url_of(PAGES[name][0], site, dataset))
        words = rita.page.locator("#content").inner_text()
        assert not [button for button in BUTTONS if button in words], name
        assert rita.page.locator('select[name="action"]').count() == 0, name


@pytest.mark.parametrize("who", [READER, NEWCOMER])
def test_an_action_without_permission_is_refused(
    who: str, open_as: OpenAs, action_urls: dict[str, str], site: Site
) -> None:
    window = open_as(who)
    for act, address in action_urls.items():
        window.open(address, 403)
        assert "Permission denied" in window.page.locator("body").inner_text(), act
        assert "Nothing was changed" in window.page.locator("body").inner_text(), act
        assert window.post(address, reason="because") == 403, act
    logged = "SELECT count(*) FROM django_admin_log JOIN auth_user u ON u.id = user_id WHERE username = %s"
    assert site.installation.probe.query("orders", logged, who) == [(0,)]


def test_staff_without_permissions_are_refused_every_page(
    open_as: OpenAs, site: Site, dataset: Dataset
) -> None:
    nora = open_as(NEWCOMER)
    nora.open("/admin/")
    refused = {
        name: nora.get(url_of(page, site, dataset)) for name, (page, _) in PAGES.items() if name != "index"
    }
    assert set(refused.values()) == {403}, refused
    nora.open(f"/admin/go/{dataset.declined}", 403)


def test_a_user_who_is_not_staff_cannot_log_in(open_as: OpenAs) -> None:
    window = open_as(None)
    window.open("/admin/login/")
    window.name = CUSTOMER
    window.log_in()
    assert window.path == "/admin/login/"
    assert "staff account" in window.page.locator(".errornote").inner_text()
