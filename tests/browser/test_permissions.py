"""Who may only look is offered nothing and refused everything; who is staff and no more is refused every
page.
"""

from __future__ import annotations

import pytest

from tests.browser.conftest import Visit
from tests.browser.dataset import World, number
from tests.browser.site import CUSTOMER, NEWCOMER, READER, Site
from tests.browser.test_pages import PAGES, where

BUTTONS = ("Place a test order", "Cancel …", "Resume …", "Replay …", "Discard …")


@pytest.fixture
def acts(site: Site, world: World) -> dict[str, str]:
    """The address of each act on a thing that can be acted on."""
    order, letter = number(site.installation, world.stuck[1]), world.forged[0]
    return {
        "place": "/admin/orders/order/place/",
        "cancel": f"/admin/orders/order/act/cancel/?id={order}",
        "resume": f"/admin/orders/saga/act/resume/?id={world.stuck[1]}",
        "replay": f"/admin/audit/deadletter/act/replay/?id={letter}",
        "discard": f"/admin/audit/deadletter/act/discard/?id={letter}",
    }


def test_who_may_only_look_is_offered_nothing(visit: Visit, site: Site, world: World) -> None:
    rita = visit(READER)
    for name in ("orders", "order", "sagas", "a saga in need", "letters", "a forged letter"):
        rita.open(where(PAGES[name][0], site, world))
        words = rita.page.locator("#content").inner_text()
        assert not [button for button in BUTTONS if button in words], name
        assert rita.page.locator('select[name="action"]').count() == 0, name


@pytest.mark.parametrize("who", [READER, NEWCOMER])
def test_an_act_opened_or_sent_without_permission_is_refused(
    who: str, visit: Visit, acts: dict[str, str], site: Site
) -> None:
    window = visit(who)
    for act, address in acts.items():
        window.open(address, 403)
        assert "You may not do this" in window.page.locator("body").inner_text(), act
        assert "Nothing was done" in window.page.locator("body").inner_text(), act
        assert window.post(address, reason="because") == 403, act
    logged = "SELECT count(*) FROM django_admin_log JOIN auth_user u ON u.id = user_id WHERE username = %s"
    assert site.installation.probe.query("orders", logged, who) == [(0,)]


def test_staff_without_any_permission_are_refused_every_page(visit: Visit, site: Site, world: World) -> None:
    nora = visit(NEWCOMER)
    nora.open("/admin/")
    refused = {
        name: nora.get(where(page, site, world)) for name, (page, _) in PAGES.items() if name != "index"
    }
    assert set(refused.values()) == {403}, refused
    nora.open(f"/admin/go/{world.declined}", 403)


def test_a_customer_is_not_let_in(visit: Visit) -> None:
    window = visit(None)
    window.open("/admin/login/")
    window.name = CUSTOMER
    window.log_in()
    assert window.path == "/admin/login/"
    assert "staff account" in window.page.locator(".errornote").inner_text()
