"""Flower through the admin, in a browser: its pages, its scripts and styles, and the ways there and back."""

from __future__ import annotations

from tests.browser.conftest import Visit
from tests.browser.dataset import World, number
from tests.browser.page_driver import Visitor
from tests.browser.site import NEWCOMER, Site

STYLED = "getComputedStyle(document.querySelector('.app-navbar')).display"


def test_from_the_index_to_the_pools_and_back(olga: Visitor) -> None:
    olga.open("/admin/")
    olga.follow("Pools and tasks, in Flower")
    table = olga.page.locator("#workers-table")
    for pool in ("orders", "inventory", "payments", "audit"):
        table.get_by_role("link", name=f"{pool}-1@test").wait_for()
    assert olga.page.evaluate(STYLED) in {"flex", "grid"}
    olga.follow(table.get_by_role("link", name="inventory-1@test"))
    olga.page.get_by_text("inventory-1@test").first.wait_for()
    olga.look()
    for page in ("tasks", "broker"):
        olga.open(f"/admin/flower/{page}")
        olga.page.get_by_text("inventory" if page == "broker" else "audit.observe").first.wait_for()
        olga.look()
    olga.follow("OrderSaga admin")
    assert olga.path == "/admin/"


def test_from_a_step_to_its_task_and_back_to_its_saga(olga: Visitor, world: World) -> None:
    olga.open(f"/admin/orders/saga/{world.declined}/change/")
    step = olga.page.locator("#story tbody tr").filter(has_text="PaymentDeclined")
    olga.follow(step.get_by_role("link"))
    olga.page.get_by_text("payments.charge").first.wait_for()
    olga.look()
    olga.follow("the sagas of this task")
    olga.follow(world.declined)
    assert olga.field("shown_status") == "rolled back"


def test_an_id_leads_to_where_it_belongs(olga: Visitor, site: Site, world: World) -> None:
    order = number(site.installation, world.declined)
    olga.open(f"/admin/go/{order}")
    assert olga.path == f"/admin/orders/order/{order}/change/"
    olga.open(f"/admin/go/{world.declined}")
    assert olga.path == f"/admin/orders/saga/{world.declined}/change/"
    link = olga.page.locator("#story tbody tr").filter(has_text="PaymentDeclined").get_by_role("link")
    task = str(link.get_attribute("title")).partition(",")[0]
    olga.open(f"/admin/go/{task}")
    assert world.declined in olga.page.locator("#content").inner_text()
    olga.follow("The task in Flower")
    assert olga.path == f"/admin/flower/task/{task}"


def test_staff_may_look_at_flower_and_nobody_acts_there_without_permission(visit: Visit) -> None:
    nora = visit(NEWCOMER)
    nora.open("/admin/flower/workers")
    assert nora.post("/admin/flower/api/worker/shutdown/inventory-1@test") == 403
