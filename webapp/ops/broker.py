"""The broker of the settings, and RabbitMQ's management interface, as the operators' commands use them."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from kombu import Connection

from ordersaga.celery.app import broker
from ordersaga.celery.rabbitmq import why_blocked

MANAGEMENT_PORT = 15672
TIMEOUT_SECONDS = 10


class ManagementError(Exception):
    """The management interface cannot be asked, or says no.

    :ivar status: the HTTP status; 0 when nobody answers.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Management:
    """One user's view of one node."""

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        """:param url: ``http(s)://host:port``; a user and password in it stand before those given.

        :raises ValueError: when it is no such address.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the management address begins with http:// or https:// and names a host")
        user, password = unquote(parts.username or user), unquote(parts.password or password)
        port = f":{parts.port}" if parts.port else ""
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.url = urlunsplit((parts.scheme, f"{host}{port}", parts.path.rstrip("/"), "", ""))
        self._token = base64.b64encode(f"{user}:{password}".encode()).decode()

    @classmethod
    def beside(cls, broker_url: str, address: str = "") -> Management:
        """The interface of the broker at an AMQP address, with its user: at ``address``, by default at the
        usual place.

        :raises ValueError: when ``address`` is no such address.
        """
        parts = urlsplit(broker_url.split(";", maxsplit=1)[0])
        host = parts.hostname or "localhost"
        address = address or f"http://{f'[{host}]' if ':' in host else host}:{MANAGEMENT_PORT}"
        return cls(address, unquote(parts.username or "guest"), unquote(parts.password or "guest"))

    def get(self, *path: str) -> Any:
        """What stands under ``/api/…``; None when there is nothing.

        :raises ManagementError: when nobody answers, or this user may not know.
        """
        return self._ask("GET", path)

    def put(self, *path: str, **body: Any) -> None:
        """Make it, or make it so; raises as :meth:`get`."""
        self._ask("PUT", path, body)

    def delete(self, *path: str) -> None:
        """Have it gone; raises as :meth:`get`."""
        self._ask("DELETE", path)

    def _ask(self, method: str, path: tuple[str, ...], body: dict[str, Any] | None = None) -> Any:
        address = "/".join([self.url, "api", *(quote(part, safe="") for part in path)])
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address, data, method=method)  # noqa: S310 - http and https only, see above
        request.add_header("Authorization", f"Basic {self._token}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
                text = answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise ManagementError(
                f"{method} {address} was answered with {error.code} {error.reason}", error.code
            ) from error
        except (OSError, ValueError) as error:  # ValueError: whoever answers speaks no HTTP
            raise ManagementError(f"{self.url} does not answer: {getattr(error, 'reason', error)}") from error
        try:
            return json.loads(text) if text else {}
        except ValueError as error:
            raise ManagementError(f"{self.url} answers, but not as RabbitMQ does") from error


def vhost_of(broker_url: str) -> str:
    """The virtual host that an AMQP address names, as kombu reads it: nothing is ``/``."""
    path = urlsplit(broker_url.split(";", maxsplit=1)[0]).path
    return unquote(path.removeprefix("/")) or "/"


AMQP_SCHEMES = ("amqp://", "amqps://", "pyamqp://")
CONNECT_SECONDS = 5
SUPPORTED = "Use amqp://… (RabbitMQ) or pgmq://… (PostgreSQL)"


def scheme_of(url: str) -> str:
    """The address without what may be secret."""
    return f"{url.partition('://')[0][:20]}://…"


def why_blocked_at(url: str) -> str | None:
    """Why the broker accepts no messages at the moment; None when it does.

    :raises Exception: what connecting raises, and TimeoutError when the broker does not answer.
    """
    with open_connection(url) as one:
        one.connect()
        return why_blocked(one)


def describe_alarm(reason: str) -> str:
    """One sentence about a broker that accepts no messages."""
    return f"The broker accepts no messages because of an alarm: {reason}. `rabbitmq-diagnostics alarms` on its host tells more."


def open_connection(url: str) -> Connection:
    """Not yet connected; a context manager.

    :raises ConfigurationError: when the address is of no broker that can be used.
    """
    given = broker(url)
    options = given["broker_transport_options"]
    return Connection(given["broker_url"], transport_options=options, connect_timeout=CONNECT_SECONDS)
