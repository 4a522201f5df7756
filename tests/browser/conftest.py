"""A site, what has happened there, and visitors; a failing test leaves pictures of what they saw."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser import dataset as worlds
from tests.browser.dataset import World
from tests.browser.page_driver import Visitor
from tests.browser.site import OPERATOR, Site
from tests.support.janitor import MARK, janitor
from tests.support.postgres import Postgres
from tests.support.programs import chromium
from tests.support.rabbitmq import RabbitMQ

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Visit: TypeAlias = Callable[..., Visitor]


@pytest.fixture(scope="package")
def site(postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ) -> Iterator[Site]:
    with Site(postgres, database_templates, rabbitmq) as site:
        yield site


@pytest.fixture(scope="package")
def world(site: Site) -> World:
    return worlds.build(site.installation)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium. Playwright runs an event loop in this thread, where Django would refuse to ask a database."""
    allowed = pytest.MonkeyPatch()
    allowed.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    allowed.setenv(MARK, janitor().mark)  # inherited by what Playwright starts
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()
    allowed.undo()


@pytest.fixture(scope="package")
def logins() -> dict[str, Any]:
    """The cookies of whoever has logged in, by name."""
    return {}


@pytest.fixture
def visit(site: Site, world: World, browser: Browser, logins: dict[str, Any]) -> Iterator[Visit]:
    """Opens a window for somebody who has logged in, or for nobody: ``visit("olga")``, ``visit(None)``."""
    windows: list[Visitor] = []

    def come(name: str | None = OPERATOR, **options: Any) -> Visitor:
        if name and name not in logins:
            first = Visitor(browser, site, name)
            first.open("/admin/login/")
            first.log_in()
            logins[name] = first.context.storage_state()
            first.context.close()
        window = Visitor(browser, site, name, storage_state=logins[name] if name else None, **options)
        windows.append(window)
        return window

    come.windows = windows  # type: ignore[attr-defined]
    yield come
    for window in windows:
        window.context.close()


@pytest.fixture
def olga(visit: Visit) -> Visitor:
    """An operator, who may look and act."""
    return visit(OPERATOR)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test says where the pictures of its windows are."""
    report = yield
    if report.failed and "visit" in getattr(item, "funcargs", {}):
        for n, window in enumerate(item.funcargs["visit"].windows):  # type: ignore[attr-defined]
            name = re.sub(r"\W+", "-", f"{item.name} {n}").strip("-")
            report.sections.append(
                ("picture", f"{window.name} saw {window.page.url}: {window.picture(name)}")
            )
    return report
