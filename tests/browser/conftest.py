"""Fixtures of the browser tests: a site, its dataset and windows; a failing test leaves screenshots."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser import dataset as datasets
from tests.browser.dataset import Dataset
from tests.browser.page_driver import PageDriver
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

OpenAs: TypeAlias = Callable[..., PageDriver]


@pytest.fixture(scope="package")
def site(postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ) -> Iterator[Site]:
    with Site(postgres, database_templates, rabbitmq) as site:
        yield site


@pytest.fixture(scope="package")
def dataset(site: Site) -> Dataset:
    return datasets.build(site.installation)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium. Playwright runs an event loop in this thread, so Django must be allowed to query here."""
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
    """The session cookies of the users that have logged in, by name."""
    return {}


@pytest.fixture
def open_as(site: Site, dataset: Dataset, browser: Browser, logins: dict[str, Any]) -> Iterator[OpenAs]:
    """Opens a window as a user, or without a login: ``open_as("olga")``, ``open_as(None)``."""
    windows: list[PageDriver] = []

    def come(name: str | None = OPERATOR, **options: Any) -> PageDriver:
        if name and name not in logins:
            first = PageDriver(browser, site, name)
            first.open("/admin/login/")
            first.log_in()
            logins[name] = first.context.storage_state()
            first.context.close()
        window = PageDriver(browser, site, name, storage_state=logins[name] if name else None, **options)
        windows.append(window)
        return window

    come.windows = windows  # type: ignore[attr-defined]
    yield come
    for window in windows:
        window.context.close()


@pytest.fixture
def operator(open_as: OpenAs) -> PageDriver:
    """A window of a user who may view everything and act."""
    return open_as(OPERATOR)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the screenshots of a failing test's windows to its report."""
    report = yield
    if report.failed and "open_as" in getattr(item, "funcargs", {}):
        for n, window in enumerate(item.funcargs["open_as"].windows):  # type: ignore[attr-defined]
            name = re.sub(r"\W+", "-", f"{item.name} {n}").strip("-")
            report.sections.append(
                ("picture", f"{window.name} saw {window.page.url}: {window.screenshot(name)}")
            )
    return report
