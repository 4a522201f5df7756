"""Drives one browser window, and checks every page it opens for faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, Response

from tests.browser.site import PASSWORD, Site
from tests.support.polling import eventually
from tests.support.processes import ROOT
from tests.support.time_scale import scaled

SCREENSHOTS = ROOT / ".run" / "browser"
"""The folder of the screenshots of failing tests; nothing deletes them."""
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
FAULTS = (Path(__file__).parent / "faults.js").read_text()
"""A script that returns the faults of a page, as sentences."""
FLOWER = "/admin/flower/"
"""The path of Flower's own pages, which are not checked by :data:`FAULTS`."""


class PageDriver:
    """One browser window of one user; every page that it opens is checked."""

    def __init__(self, browser: Browser, site: Site, name: str | None, **options: Any) -> None:
        self.site, self.name = site, name
        self.context = browser.new_context(base_url=site.url, locale="en-GB", **{"viewport": WIDE, **options})
        self.context.set_default_timeout(scaled(15_000))
        self.page: Page = self.context.new_page()
        self._faults: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self._faults.append(f"script: {error}"))
        self.page.on("requestfailed", self._on_failed)
        self.page.on("response", self._on_response)

    # -- navigation --------------------------------------------------------------------------------------

    def open(self, path: str, status: int = 200) -> Page:
        """Open a path of the site, which must answer with ``status``."""
        answer = self.page.goto(path)
        assert answer is not None
        assert answer.status == status, f"{path} answers {answer.status}"
        self.check_page()
        return self.page

    def follow(self, what: str | Locator, role: Literal["link", "button"] = "link") -> Page:
        """Click a link or button; the page it opens must not be an error."""
        found = self.page.get_by_role(role, name=what, exact=True) if isinstance(what, str) else what
        with self.page.expect_navigation() as led:
            found.click()
        assert led.value.status < 400, f"{what} leads to {led.value.url}: {led.value.status}"
        self.check_page()
        return self.page

    def press(self, button: str) -> Page:
        return self.follow(button, "button")

    def log_in(self) -> None:
        assert self.name
        self.page.get_by_label("Username").fill(self.name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.press("Log in")

    def until(self, check: Callable[[Page], Any], what: str, timeout: float = 20) -> None:
        """Reload the page until ``check`` is true."""

        def shown() -> bool:
            if check(self.page):
                return True
            self.page.reload()
            return False

        eventually(shown, timeout, what)
        self.check_page()

    def get(self, path: str) -> int:
        """Request a path without opening it; return the response's status."""
        return self.context.request.get(path, max_redirects=0).status

    def post(self, path: str, **form: str) -> int:
        """Post a form that was not opened, with a valid CSRF token; return the response's status."""
        [token] = [cookie["value"] for cookie in self.context.cookies() if cookie["name"] == "csrftoken"]
        answer = self.context.request.post(
            path,
            form={**form, "csrfmiddlewaretoken": token},
            headers={"Referer": self.site.url},
            max_redirects=0,
        )
        return answer.status

    # -- content -----------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        return urlsplit(self.page.url).path

    def messages(self) -> list[str]:
        """Return Django's messages on the page."""
        return [line.strip() for line in self.page.locator(".messagelist li").all_inner_texts()]

    def field(self, name: str) -> str:
        """Return the value of a field of an object's page."""
        return self.page.locator(f".field-{name} .readonly").inner_text().strip()

    def rows(self) -> int:
        """Count the rows of the list on the page."""
        return self.page.locator("#result_list tbody tr").count()

    def timeline(self) -> list[str]:
        """Return the names of the events on a saga's page, in order."""
        return self.page.locator("#timeline tbody .name").all_inner_texts()

    def column(self, name: str) -> list[str]:
        """Return the cells of a list's column, in order."""
        return [
            cell.strip() for cell in self.page.locator(f"#result_list tbody .field-{name}").all_inner_texts()
        ]

    # -- faults ------------------------------------------------------------------------------------------

    def check_page(self) -> None:
        """:raises AssertionError: if the page has a fault, or the browser met one since the last check."""
        self.page.wait_for_load_state("load")
        faults, self._faults = self._faults, []
        if not self.path.startswith(FLOWER):
            faults += self.page.evaluate(FAULTS)
        assert not faults, f"{self.page.url}: {faults}"

    def screenshot(self, name: str) -> Path:
        """Save a screenshot of the whole page; return its path."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(
            "Failed to load resource"
        ):  # see _on_response
            self._faults.append(f"console: {message.text}")

    def _on_failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # by leaving the page
            self._faults.append(f"{request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        """A page itself may be refused on purpose; the files it needs may not."""
        if response.status >= 400 and not response.request.is_navigation_request():
            self._faults.append(f"{response.url}: {response.status}")
