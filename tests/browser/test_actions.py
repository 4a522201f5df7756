"""Operators act by clicking: asked for a reason, done once, told, logged, and a line in the saga's story."""

from __future__ import annotations

import pytest

from tests.browser.dataset import World, held_up, number, patient
from tests.browser.page_driver import Visitor
from tests.browser.site import Site
from tests.support.fault_injection import skus

WHY = "the shelf is mended"


def give(window: Visitor, button: str, reason: str = WHY) -> None:
    """Fill in the reason and confirm."""
    window.page.get_by_label("Reason").fill(reason)
    window.press(button)


def reasons_are_asked_for(window: Visitor, button: str) -> None:
    """An empty reason is refused, with a word."""
    address = window.page.url
    give(window, button, "  ")
    assert window.page.url == address
    assert window.page.locator(".errorlist").inner_text() == "This field is required."


def history_tells(window: Visitor, words: str) -> None:
    """The admin's own log of the thing on the page holds ``words`` beside who did it; then back."""
    window.follow("History")
    row = window.page.locator("#change-history tbody tr").filter(has_text=words)
    assert row.count() == 1
    assert "olga" in row.inner_text()
    window.page.go_back()


def story_tells(window: Visitor, saga: str, event: str) -> None:
    """The saga's page has a line of ``event`` with reason and person, once the audit has heard of it."""
    window.open(f"/admin/orders/saga/{saga}/change/")
    line = window.page.locator("#story tbody tr").filter(has=window.page.get_by_text(event, exact=True))
    window.until(lambda _: line.count() >= 1, f"{event!r} in the story")
    assert WHY in line.first.inner_text()
    assert "(olga)" in line.first.inner_text()


def choose(window: Visitor, action: str, *letters: int) -> None:
    """Tick these letters in their list and ask for something to be done to them."""
    window.open("/admin/audit/deadletter/")
    for letter in letters:
        window.page.locator(f'input[name="_selected_action"][value="{letter}"]').check()
    window.page.locator("select[name=action]").select_option(label=action)
    window.press("Go")


def test_a_test_order_is_placed_once_and_settles(olga: Visitor, site: Site) -> None:
    olga.open("/admin/orders/order/")
    olga.follow("Place a test order")
    form = olga.page.url
    olga.page.get_by_label("Customer").fill("ann")
    olga.page.locator("#id_lines-0-sku").fill("NOPE")
    olga.page.locator("#id_lines-0-quantity").fill("2")
    give(olga, "Place the order", " ")
    assert "was not placed" in olga.page.locator(".errornote").inner_text()
    give(olga, "Place the order")
    assert "NOPE is not in the catalogue" in olga.page.locator("#content").inner_text()
    olga.page.locator("#id_lines-0-sku").fill("TEA")
    key = olga.page.locator("#id_key").input_value()
    olga.press("Place the order")

    [told] = olga.messages()
    order = int(olga.field("id"))
    assert told == f"Order {order} is placed."
    assert olga.field("total") == "9.00 EUR"
    history_tells(olga, WHY)
    olga.until(lambda _: olga.field("status") == "confirmed", "the order confirmed")
    saga = olga.page.locator(".field-its_saga a").inner_text()

    sent = {
        "lines-TOTAL_FORMS": "5",
        "lines-INITIAL_FORMS": "0",
        "lines-0-sku": "TEA",
        "lines-0-quantity": "2",
    }
    assert olga.post(form, customer="ann", currency="EUR", reason=WHY, key=key, **sent) == 302
    olga.open(f"/admin/orders/order/{order}/change/")
    assert olga.messages() == [f"Order {order} was placed by this form before."]
    story_tells(olga, saga, "test order placed")


def test_an_order_is_cancelled_while_it_is_pending_and_not_after(olga: Visitor, site: Site) -> None:
    with held_up(site.installation) as saga:
        order = number(site.installation, saga)
        olga.open(f"/admin/orders/order/{order}/change/")
        assert olga.field("status") == "pending"
        olga.follow("Cancel …")
        address = olga.page.url
        reasons_are_asked_for(olga, "Cancel")
        give(olga, "Cancel")
        assert olga.messages() == [
            f"Order {order}: asked for it to be cancelled. Its saga decides; look at it again in a moment."
        ]
        history_tells(olga, WHY)
        olga.until(lambda _: olga.field("status") == "rolling back", "the order rolling back")
        assert olga.page.get_by_role("link", name="Cancel …").count() == 0
        olga.follow(saga)
        assert "inventory" in olga.field("waits_for")

        assert olga.post(address, reason=WHY) == 302
        olga.open(f"/admin/orders/order/{order}/change/")
        assert olga.messages() == [f"Order {order} is rolling back: too late to cancel it."]
    olga.until(lambda _: olga.field("status") == "rolled back", "the order rolled back")
    assert "cancelled" in olga.page.locator("#cancel_request-group").inner_text()
    story_tells(olga, saga, "cancel asked")


def test_a_saga_in_need_of_attention_is_resumed(olga: Visitor, site: Site, world: World) -> None:
    saga = world.stuck[0]
    olga.open(f"/admin/orders/saga/{saga}/change/")
    assert "undo of inventory.reserve_stock keeps failing" in olga.field("attention")
    assert olga.field("waits_for") == "the answer of inventory"
    olga.follow("Resume …")
    address = olga.page.url
    reasons_are_asked_for(olga, "Resume")
    try:
        site.installation.switches.off(skus.UNDO_FAILS)
        give(olga, "Resume")
        assert olga.messages() == [f"Saga {saga} is reminded now of what it waits for."]
        history_tells(olga, WHY)
        olga.until(lambda _: olga.field("shown_status") == "rolled back", "the saga rolled back")
    finally:
        site.installation.switches.on(skus.UNDO_FAILS)
    assert olga.page.get_by_role("link", name="Resume …").count() == 0
    assert olga.post(address, reason=WHY) == 302
    olga.open(f"/admin/orders/saga/{saga}/change/")
    assert olga.messages() == [f"Saga {saga} has ended (rolled back): nothing to resume."]
    story_tells(olga, saga, "resumed")


def test_a_dead_letter_is_replayed_once_and_its_order_confirms(
    olga: Visitor, site: Site, world: World
) -> None:
    saga = world.lost[0]
    letter = world.letter(site.installation, saga)
    olga.open(f"/admin/audit/deadletter/{letter}/change/")
    olga.follow("Replay …")
    address = olga.page.url
    reasons_are_asked_for(olga, "Replay")
    give(olga, "Replay")
    assert olga.messages() == [f"Dead letter {letter}: 1 signal goes to inventory."]
    assert "replayed by" in olga.field("settled")
    assert "(olga)" in olga.field("settled")
    assert olga.page.get_by_role("link", name="Replay …").count() == 0
    history_tells(olga, WHY)
    assert olga.post(address, reason=WHY) == 302
    olga.open(f"/admin/audit/deadletter/{letter}/change/")
    assert "was replayed before, by" in olga.messages()[0]
    story_tells(olga, saga, "sent again")
    olga.until(lambda _: olga.field("shown_status") == "confirmed", "the order confirmed")


def test_a_selection_is_replayed_with_one_reason_and_one_that_was_settled_stops_no_other(
    olga: Visitor, site: Site, world: World
) -> None:
    letters = [world.letter(site.installation, saga) for saga in (*world.lost[1:3], world.given_up[0])]
    choose(olga, "Replay …", *letters)
    assert all(str(letter) in olga.page.locator("#content-main").inner_text() for letter in letters)
    give(olga, "Replay")
    told = olga.messages()
    assert sum("1 signal goes to inventory." in line for line in told) == 2
    assert sum("has ended, so that replaying it would do nothing. Discard it" in line for line in told) == 1
    site.installation.probe.wait_until_confirmed(world.lost[1:3], timeout=30)


@pytest.mark.parametrize("forged", [True, False], ids=["of the broker", "of a participant"])
def test_a_selection_is_discarded(forged: bool, olga: Visitor, site: Site, world: World) -> None:
    letters = (
        world.forged[:2] if forged else [world.letter(site.installation, saga) for saga in world.given_up[:2]]
    )
    choose(olga, "Discard …", *letters)
    address = olga.page.url
    reasons_are_asked_for(olga, "Discard")
    give(olga, "Discard")
    assert sorted(olga.messages()) == sorted(f"Dead letter {letter} is discarded." for letter in letters)
    assert not set(map(str, letters)) & set(olga.column("id"))
    assert olga.post(address, reason=WHY) == 302
    olga.open("/admin/audit/deadletter/?outcome=discarded")
    assert all("was discarded before, by" in line for line in olga.messages())
    assert set(map(str, letters)) <= set(olga.column("id"))
    if not forged:
        story_tells(olga, world.given_up[0], "dead letter discarded")


def test_what_was_forged_is_not_signed_anew_but_discarded(olga: Visitor, world: World) -> None:
    letter = world.forged[2]
    olga.open(f"/admin/audit/deadletter/{letter}/change/")
    olga.follow("Replay …")
    give(olga, "Replay")
    assert "not one of our messages" in olga.messages()[0]
    olga.follow("Discard …")
    olga.follow("No, take me back")
    assert olga.field("settled") == "open"
    olga.follow("Discard …")
    give(olga, "Discard")
    history_tells(olga, "Discard: ")
    assert olga.messages() == []
    assert "discarded by" in olga.field("settled")


def test_a_hasty_double_click_acts_once(olga: Visitor, site: Site, world: World) -> None:
    saga = patient(site.installation).place(skus.FAILS)
    site.installation.probe.wait_until_rolled_back([saga], timeout=30)
    olga.open(f"/admin/audit/deadletter/?q={saga}")
    olga.until(lambda _: olga.rows() == 1, "its dead letter")
    olga.follow(olga.page.locator("#result_list th a"))
    olga.follow("Discard …")
    olga.page.get_by_label("Reason").fill(WHY)
    button = olga.page.get_by_role("button", name="Discard")
    button.dblclick()
    # no navigation is expected by name: the first click's is given up for the second's
    olga.page.wait_for_function("location.pathname.endsWith('/change/')")
    olga.until(lambda _: "discarded by" in olga.field("settled"), "the letter settled")
    history_tells(olga, WHY)
