"""Somebody at a browser, who notices what is wrong with each page that is come by."""

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

PICTURES = ROOT / ".run" / "browser"
"""Where a failing test leaves what was seen; it is kept until somebody removes it."""
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
FAULTS = (Path(__file__).parent / "faults.js").read_text()
"""JavaScript: what is wrong with a page, as sentences."""
FLOWER = "/admin/flower/"
"""Under it are pages that are not ours: their labels are not judged."""


class Visitor:
    """One browser window of one person; every page that is opened or led to is looked at."""

    def __init__(self, browser: Browser, site: Site, name: str | None, **options: Any) -> None:
        self.site, self.name = site, name
        self.context = browser.new_context(base_url=site.url, locale="en-GB", **{"viewport": WIDE, **options})
        self.context.set_default_timeout(scaled(15_000))
        self.page: Page = self.context.new_page()
        self._noticed: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self._noticed.append(f"script: {error}"))
        self.page.on("requestfailed", self._on_failed)
        self.page.on("response", self._on_response)

    # -- going places
    # -------------------------------------------------------------------------------------------------

    def open(self, path: str, status: int = 200) -> Page:
        """Go to an address of the site, which answers with ``status``."""
        answer = self.page.goto(path)
        assert answer is not None
        assert answer.status == status, f"{path} answers {answer.status}"
        self.look()
        return self.page

    def follow(self, what: str | Locator, role: Literal["link", "button"] = "link") -> Page:
        """Click a link or button that leads to another page, which must be a good one."""
        found = self.page.get_by_role(role, name=what, exact=True) if isinstance(what, str) else what
        with self.page.expect_navigation() as led:
            found.click()
        assert led.value.status < 400, f"{what} leads to {led.value.url}: {led.value.status}"
        self.look()
        return self.page

    def press(self, button: str) -> Page:
        return self.follow(button, "button")

    def log_in(self) -> None:
        assert self.name
        self.page.get_by_label("Username").fill(self.name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.press("Log in")

    def until(self, check: Callable[[Page], Any], what: str, timeout: float = 20) -> None:
        """Reload the page until it shows what is awaited."""

        def shown() -> bool:
            if check(self.page):
                return True
            self.page.reload()
            return False

        eventually(shown, timeout, what)
        self.look()

    def get(self, path: str) -> int:
        """The status of an address, asked for without showing it."""
        return self.context.request.get(path, max_redirects=0).status

    def post(self, path: str, **form: str) -> int:
        """Send a form without having been shown it, with a token that is valid; the answer's status."""
        [token] = [cookie["value"] for cookie in self.context.cookies() if cookie["name"] == "csrftoken"]
        answer = self.context.request.post(
            path,
            form={**form, "csrfmiddlewaretoken": token},
            headers={"Referer": self.site.url},
            max_redirects=0,
        )
        return answer.status

    # -- reading
    # ------------------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        return urlsplit(self.page.url).path

    def messages(self) -> list[str]:
        """What the page says at its head about what was just done."""
        return [line.strip() for line in self.page.locator(".messagelist li").all_inner_texts()]

    def field(self, name: str) -> str:
        """A value of a thing's page, by the name of its field."""
        return self.page.locator(f".field-{name} .readonly").inner_text().strip()

    def rows(self) -> int:
        """Of the list on the page."""
        return self.page.locator("#result_list tbody tr").count()

    def story(self) -> list[str]:
        """A saga's page: what was said, from above."""
        return self.page.locator("#story tbody .name").all_inner_texts()

    def column(self, name: str) -> list[str]:
        """The cells of a list's column, from above."""
        return [
            cell.strip() for cell in self.page.locator(f"#result_list tbody .field-{name}").all_inner_texts()
        ]

    # -- noticing
    # -----------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """:raises AssertionError: when something is wrong with the page, or was since the last look."""
        self.page.wait_for_load_state("load")
        noticed, self._noticed = self._noticed, []
        if not self.path.startswith(FLOWER):
            noticed += self.page.evaluate(FAULTS)
        assert not noticed, f"{self.page.url}: {noticed}"

    def picture(self, name: str) -> Path:
        """Photograph the whole page; where the photograph is."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(
            "Failed to load resource"
        ):  # see _on_response
            self._noticed.append(f"console: {message.text}")

    def _on_failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # by leaving the page
            self._noticed.append(f"{request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        """A page may be meant to be refused, what belongs to a page may not."""
        if response.status >= 400 and not response.request.is_navigation_request():
            self._noticed.append(f"{response.url}: {response.status}")
