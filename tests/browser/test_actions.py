"""Operators act in a browser: each action asks for a reason, runs once, and is logged."""

from __future__ import annotations

import pytest

from tests.browser.dataset import Dataset, factory_without_reminders, inventory_held, order_number
from tests.browser.page_driver import PageDriver
from tests.browser.site import Site
from tests.support.fault_injection import skus

WHY = "the worker is fixed"


def submit_reason(window: PageDriver, button: str, reason: str = WHY) -> None:
    """Fill in the reason and confirm."""
    window.page.get_by_label("Reason").fill(reason)
    window.press(button)


def assert_reason_required(window: PageDriver, button: str) -> None:
    """An empty reason is refused with a message."""
    address = window.page.url
    submit_reason(window, button, "  ")
    assert window.page.url == address
    assert window.page.locator(".errorlist").inner_text() == "This field is required."


def assert_in_history(window: PageDriver, words: str) -> None:
    """The admin's history of the object holds ``words`` and the user; then go back."""
    window.follow("History")
    row = window.page.locator("#change-history tbody tr").filter(has_text=words)
    assert row.count() == 1
    assert "olga" in row.inner_text()
    window.page.go_back()


def assert_in_timeline(window: PageDriver, saga: str, event: str) -> None:
    """The saga's page shows ``event`` with reason and user, once the audit has recorded it."""
    window.open(f"/admin/orders/saga/{saga}/change/")
    line = window.page.locator("#timeline tbody tr").filter(has=window.page.get_by_text(event, exact=True))
    window.until(lambda _: line.count() >= 1, f"{event!r} in the timeline")
    assert WHY in line.first.inner_text()
    assert "(olga)" in line.first.inner_text()


def apply_to_selection(window: PageDriver, action: str, *dead_letters: int) -> None:
    """Select these dead letters in their list, and choose an action for them."""
    window.open("/admin/audit/deadletter/")
    for dead_letter in dead_letters:
        window.page.locator(f'input[name="_selected_action"][value="{dead_letter}"]').check()
    window.page.locator("select[name=action]").select_option(label=action)
    window.press("Go")


def test_a_test_order_is_placed_once_and_settles(operator: PageDriver, site: Site) -> None:
    operator.open("/admin/orders/order/")
    operator.follow("Place a test order")
    form = operator.page.url
    operator.page.get_by_label("Customer").fill("ann")
    operator.page.locator("#id_lines-0-sku").fill("NOPE")
    operator.page.locator("#id_lines-0-quantity").fill("2")
    submit_reason(operator, "Place the order", " ")
    assert "was not placed" in operator.page.locator(".errornote").inner_text()
    submit_reason(operator, "Place the order")
    assert "NOPE is not in the catalogue" in operator.page.locator("#content").inner_text()
    operator.page.locator("#id_lines-0-sku").fill("TEA")
    key = operator.page.locator("#id_key").input_value()
    operator.press("Place the order")

    [result] = operator.messages()
    order = int(operator.field("id"))
    assert result == f"Order {order} was placed."
    assert operator.field("total") == "9.00 EUR"
    assert_in_history(operator, WHY)
    operator.until(lambda _: operator.field("status") == "confirmed", "the order confirmed")
    saga = operator.page.locator(".field-its_saga a").inner_text()

    sent = {
        "lines-TOTAL_FORMS": "5",
        "lines-INITIAL_FORMS": "0",
        "lines-0-sku": "TEA",
        "lines-0-quantity": "2",
    }
    assert operator.post(form, customer="ann", currency="EUR", reason=WHY, key=key, **sent) == 302
    operator.open(f"/admin/orders/order/{order}/change/")
    assert operator.messages() == [f"This form has already placed order {order}."]
    assert_in_timeline(operator, saga, "test order placed")


def test_an_order_is_cancelled_while_it_is_pending_and_not_after(operator: PageDriver, site: Site) -> None:
    with inventory_held(site.installation) as saga:
        order = order_number(site.installation, saga)
        operator.open(f"/admin/orders/order/{order}/change/")
        assert operator.field("status") == "pending"
        operator.follow("Cancel …")
        address = operator.page.url
        assert_reason_required(operator, "Cancel")
        submit_reason(operator, "Cancel")
        assert operator.messages() == [
            f"Order {order}: a cancel request was sent. The saga decides; reload the page in a moment."
        ]
        assert_in_history(operator, WHY)
        operator.until(lambda _: operator.field("status") == "rolling back", "the order rolling back")
        assert operator.page.get_by_role("link", name="Cancel …").count() == 0
        operator.follow(saga)
        assert "inventory" in operator.field("waits_for")

        assert operator.post(address, reason=WHY) == 302
        operator.open(f"/admin/orders/order/{order}/change/")
        assert operator.messages() == [f"Order {order} is rolling back: it is too late to cancel it."]
    operator.until(lambda _: operator.field("status") == "rolled back", "the order rolled back")
    assert "cancelled" in operator.page.locator("#cancel_request-group").inner_text()
    assert_in_timeline(operator, saga, "cancel asked")


def test_a_saga_that_needs_attention_is_resumed(operator: PageDriver, site: Site, dataset: Dataset) -> None:
    saga = dataset.stuck[0]
    operator.open(f"/admin/orders/saga/{saga}/change/")
    assert "undo of inventory.reserve_stock keeps failing" in operator.field("attention")
    assert operator.field("waits_for") == "the answer of inventory"
    operator.follow("Resume …")
    address = operator.page.url
    assert_reason_required(operator, "Resume")
    try:
        site.installation.switches.off(skus.UNDO_FAILS)
        submit_reason(operator, "Resume")
        assert operator.messages() == [f"Saga {saga} is resumed: the signal that it waits for is sent again."]
        assert_in_history(operator, WHY)
        operator.until(lambda _: operator.field("shown_status") == "rolled back", "the saga rolled back")
    finally:
        site.installation.switches.on(skus.UNDO_FAILS)
    assert operator.page.get_by_role("link", name="Resume …").count() == 0
    assert operator.post(address, reason=WHY) == 302
    operator.open(f"/admin/orders/saga/{saga}/change/")
    assert operator.messages() == [f"Saga {saga} has ended (rolled back): there is nothing to resume."]
    assert_in_timeline(operator, saga, "resumed")


def test_a_dead_letter_is_replayed_once_and_its_order_confirms(
    operator: PageDriver, site: Site, dataset: Dataset
) -> None:
    saga = dataset.lost[0]
    dead_letter = dataset.dead_letter_id(site.installation, saga)
    operator.open(f"/admin/audit/deadletter/{dead_letter}/change/")
    operator.follow("Replay …")
    address = operator.page.url
    assert_reason_required(operator, "Replay")
    submit_reason(operator, "Replay")
    assert operator.messages() == [f"Dead letter {dead_letter}: 1 signal was sent to inventory."]
    assert "replayed by" in operator.field("settled")
    assert "(olga)" in operator.field("settled")
    assert operator.page.get_by_role("link", name="Replay …").count() == 0
    assert_in_history(operator, WHY)
    assert operator.post(address, reason=WHY) == 302
    operator.open(f"/admin/audit/deadletter/{dead_letter}/change/")
    assert "was already replayed by" in operator.messages()[0]
    assert_in_timeline(operator, saga, "sent again")
    operator.until(lambda _: operator.field("shown_status") == "confirmed", "the order confirmed")


def test_a_selection_is_replayed_despite_a_settled_dead_letter(
    operator: PageDriver, site: Site, dataset: Dataset
) -> None:
    dead_letters = [
        dataset.dead_letter_id(site.installation, saga) for saga in (*dataset.lost[1:3], dataset.given_up[0])
    ]
    apply_to_selection(operator, "Replay …", *dead_letters)
    assert all(
        str(dead_letter) in operator.page.locator("#content-main").inner_text()
        for dead_letter in dead_letters
    )
    submit_reason(operator, "Replay")
    result = operator.messages()
    assert sum("1 signal was sent to inventory." in line for line in result) == 2
    assert sum("has ended, so a replay has no effect. Discard it" in line for line in result) == 1
    site.installation.probe.wait_until_confirmed(dataset.lost[1:3], timeout=30)


@pytest.mark.parametrize("forged", [True, False], ids=["of the broker", "of a participant"])
def test_a_selection_is_discarded(forged: bool, operator: PageDriver, site: Site, dataset: Dataset) -> None:
    dead_letters = (
        dataset.forged[:2]
        if forged
        else [dataset.dead_letter_id(site.installation, saga) for saga in dataset.given_up[:2]]
    )
    apply_to_selection(operator, "Discard …", *dead_letters)
    address = operator.page.url
    assert_reason_required(operator, "Discard")
    submit_reason(operator, "Discard")
    assert sorted(operator.messages()) == sorted(
        f"Dead letter {dead_letter} was discarded." for dead_letter in dead_letters
    )
    assert not set(map(str, dead_letters)) & set(operator.column("id"))
    assert operator.post(address, reason=WHY) == 302
    operator.open("/admin/audit/deadletter/?outcome=discarded")
    assert all("was already discarded by" in line for line in operator.messages())
    assert set(map(str, dead_letters)) <= set(operator.column("id"))
    if not forged:
        assert_in_timeline(operator, dataset.given_up[0], "dead letter discarded")


def test_a_forged_dead_letter_is_discarded_and_not_replayed(operator: PageDriver, dataset: Dataset) -> None:
    dead_letter = dataset.forged[2]
    operator.open(f"/admin/audit/deadletter/{dead_letter}/change/")
    operator.follow("Replay …")
    submit_reason(operator, "Replay")
    assert "not signed by this installation" in operator.messages()[0]
    operator.follow("Discard …")
    operator.follow("Back")
    assert operator.field("settled") == "open"
    operator.follow("Discard …")
    submit_reason(operator, "Discard")
    assert_in_history(operator, "Discard: ")
    assert operator.messages() == []
    assert "discarded by" in operator.field("settled")


def test_a_double_click_acts_once(operator: PageDriver, site: Site, dataset: Dataset) -> None:
    saga = factory_without_reminders(site.installation).place(skus.FAILS)
    site.installation.probe.wait_until_rolled_back([saga], timeout=30)
    operator.open(f"/admin/audit/deadletter/?q={saga}")
    operator.until(lambda _: operator.rows() == 1, "its dead letter")
    operator.follow(operator.page.locator("#result_list th a"))
    operator.follow("Discard …")
    operator.page.get_by_label("Reason").fill(WHY)
    button = operator.page.get_by_role("button", name="Discard")
    button.dblclick()
    # Not by expect_navigation: the second click aborts the navigation of the first.
    operator.page.wait_for_function("location.pathname.endsWith('/change/')")
    operator.until(lambda _: "discarded by" in operator.field("settled"), "the dead letter settled")
    assert_in_history(operator, WHY)
