"""A client of the web behind a proxy: by https, with cookies."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from email.message import Message
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from tests.deploy.conftest import InstalledImage
from tests.support.time_scale import scaled

ORIGIN = "https://localhost"


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Site:
    """A client with its cookies."""

    def __init__(self, image: InstalledImage) -> None:
        self._port = image.web
        self._cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, None, headers)

    def log_in(self, name: str, password: str) -> None:
        page = self.get("/admin/login/")
        [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        form = {"csrfmiddlewaretoken": token, "username": name, "password": password, "next": "/admin/"}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": ORIGIN,
            "Referer": f"{ORIGIN}/admin/login/",
        }
        assert self._ask("POST", "/admin/login/", urlencode(form), headers).status == 302

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=scaled(30))
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        sent = {"Host": "localhost", "X-Forwarded-Proto": "https", "Cookie": cookies, **headers}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        connection.close()
        for line in answer.headers.get_all("Set-Cookie", []):
            self._cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        return answer
