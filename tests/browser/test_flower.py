"""Flower inside the admin, in a browser: its pages, scripts and styles, and the links there and back."""

from __future__ import annotations

from tests.browser.conftest import OpenAs
from tests.browser.dataset import Dataset, order_number
from tests.browser.page_driver import PageDriver
from tests.browser.site import NEWCOMER, Site

STYLED = "getComputedStyle(document.querySelector('.app-navbar')).display"


def test_the_index_links_to_flowers_pools_and_back(operator: PageDriver) -> None:
    operator.open("/admin/")
    operator.follow("Pools and tasks (Flower)")
    table = operator.page.locator("#workers-table")
    for pool in ("orders", "inventory", "payments", "audit"):
        table.get_by_role("link", name=f"{pool}-1@test").wait_for()
    assert operator.page.evaluate(STYLED) in {"flex", "grid"}
    operator.follow(table.get_by_role("link", name="inventory-1@test"))
    operator.page.get_by_text("inventory-1@test").first.wait_for()
    operator.check_page()
    for page in ("tasks", "broker"):
        operator.open(f"/admin/flower/{page}")
        operator.page.get_by_text("inventory" if page == "broker" else "audit.observe").first.wait_for()
        operator.check_page()
    operator.follow("OrderSaga admin")
    assert operator.path == "/admin/"


def test_a_step_links_to_its_task_and_the_task_to_its_saga(operator: PageDriver, dataset: Dataset) -> None:
    operator.open(f"/admin/orders/saga/{dataset.declined}/change/")
    step = operator.page.locator("#timeline tbody tr").filter(has_text="PaymentDeclined")
    operator.follow(step.get_by_role("link"))
    operator.page.get_by_text("payments.charge").first.wait_for()
    operator.check_page()
    operator.follow("the sagas of this task")
    operator.follow(dataset.declined)
    assert operator.field("shown_status") == "rolled back"


def test_an_id_redirects_to_its_page(operator: PageDriver, site: Site, dataset: Dataset) -> None:
    order = order_number(site.installation, dataset.declined)
    operator.open(f"/admin/go/{order}")
    assert operator.path == f"/admin/orders/order/{order}/change/"
    operator.open(f"/admin/go/{dataset.declined}")
    assert operator.path == f"/admin/orders/saga/{dataset.declined}/change/"
    link = operator.page.locator("#timeline tbody tr").filter(has_text="PaymentDeclined").get_by_role("link")
    task = str(link.get_attribute("title")).partition(",")[0]
    operator.open(f"/admin/go/{task}")
    assert dataset.declined in operator.page.locator("#content").inner_text()
    operator.follow("The task in Flower")
    assert operator.path == f"/admin/flower/task/{task}"


def test_staff_can_view_flower_but_need_permission_to_act(open_as: OpenAs) -> None:
    nora = open_as(NEWCOMER)
    nora.open("/admin/flower/workers")
    assert nora.post("/admin/flower/api/worker/shutdown/inventory-1@test") == 403
