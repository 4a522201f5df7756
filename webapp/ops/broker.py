"""Connections of the commands to the broker and to RabbitMQ's management interface."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from kombu import Connection

from ordersaga.celery.app import configure_broker
from ordersaga.celery.rabbitmq_transport import why_blocked

MANAGEMENT_PORT = 15672
TIMEOUT_SECONDS = 10


class ManagementError(Exception):
    """The management interface does not answer, or refuses a request.

    :ivar status: the HTTP status; 0 without an answer.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Management:
    """A client of the management interface."""

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        """:param url: ``http(s)://host:port``; a user and password in it take precedence.

        :raises ValueError: when it is another kind of address.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the management address must begin with http:// or https:// and name a host")
        user, password = unquote(parts.username or user), unquote(parts.password or password)
        port = f":{parts.port}" if parts.port else ""
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.url = urlunsplit((parts.scheme, f"{host}{port}", parts.path.rstrip("/"), "", ""))
        self._token = base64.b64encode(f"{user}:{password}".encode()).decode()

    @classmethod
    def beside(cls, broker_url: str, address: str = "") -> Management:
        """Return a client for the broker at an AMQP address, with its user.

        :param address: by default port 15672 of the broker's host.
        :raises ValueError: when ``address`` is another kind of address.
        """
        parts = urlsplit(broker_url.split(";", maxsplit=1)[0])
        host = parts.hostname or "localhost"
        address = address or f"http://{f'[{host}]' if ':' in host else host}:{MANAGEMENT_PORT}"
        return cls(address, unquote(parts.username or "guest"), unquote(parts.password or "guest"))

    def get(self, *path: str) -> Any:
        """Return the resource at ``/api/…``; None when it does not exist.

        :raises ManagementError: when the interface does not answer, or denies access.
        """
        return self._ask("GET", path)

    def put(self, *path: str, **body: Any) -> None:
        """Create or change a resource; raises as :meth:`get`."""
        self._ask("PUT", path, body)

    def delete(self, *path: str) -> None:
        """Delete a resource; raises as :meth:`get`."""
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
        except (OSError, ValueError) as error:  # ValueError: the answer is not HTTP
            raise ManagementError(f"{self.url} does not answer: {getattr(error, 'reason', error)}") from error
        try:
            return json.loads(text) if text else {}
        except ValueError as error:
            raise ManagementError(f"{self.url} answers, but not as RabbitMQ does") from error


def vhost_of(broker_url: str) -> str:
    """Return the virtual host of an AMQP address, as kombu reads it: none means ``/``."""
    path = urlsplit(broker_url.split(";", maxsplit=1)[0]).path
    return unquote(path.removeprefix("/")) or "/"


AMQP_SCHEMES = ("amqp://", "amqps://", "pyamqp://")
CONNECT_SECONDS = 5
SUPPORTED = "Use amqp://… (RabbitMQ) or pgmq://… (PostgreSQL)"


def scheme_of(url: str) -> str:
    """Return the scheme of an address, without its secrets."""
    return f"{url.partition('://')[0][:20]}://…"


def why_blocked_at(url: str) -> str | None:
    """Return why the broker accepts no messages now; None when it accepts them.

    :raises Exception: an error of connecting; TimeoutError when the broker does not answer.
    """
    with open_connection(url) as one:
        one.connect()
        return why_blocked(one)


def describe_alarm(reason: str) -> str:
    """Describe a broker that accepts no messages."""
    return (
        f"The broker accepts no messages because of an alarm: {reason}. "
        "Details: rabbitmq-diagnostics alarms, on its host."
    )


def open_connection(url: str) -> Connection:
    """Return a connection, not yet established, that is a context manager.

    :raises ConfigurationError: when the address names an unsupported broker.
    """
    given = configure_broker(url)
    options = given["broker_transport_options"]
    return Connection(given["broker_url"], transport_options=options, connect_timeout=CONNECT_SECONDS)
