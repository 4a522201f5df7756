"""One request to Flower, and its answer as a stream."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator, Mapping
from typing import Self
from urllib.parse import unquote, urlsplit

CONNECT_SECONDS, READ_SECONDS = 3.0, 20.0
"""How long Flower may take to be reached, and to say something: it asks the pools, which takes it a second or more."""
CHUNK = 64 * 1024


class FlowerAway(Exception):
    """Flower does not answer, or not as it should; the message says what is seen."""


class Answer:
    """What Flower said: iterate over it once for the body, and close it in any case."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self._first: bytes | None = None

    @property
    def status(self) -> int:
        return self._response.status

    def header(self, name: str) -> str | None:
        return self._response.getheader(name)

    def beginning(self) -> bytes:
        """The first piece of the body, still to be given by the iteration."""
        if self._first is None:
            self._first = self._read()
        return self._first

    def replace_beginning(self, text: bytes) -> int:
        """Give ``text`` instead of the first piece; by how many bytes the body has grown."""
        grown = len(text) - len(self.beginning())
        self._first = text
        return grown

    def __iter__(self) -> Iterator[bytes]:
        try:
            piece = self.beginning()
            while piece:
                yield piece
                piece = self._read()
        finally:
            self.close()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> bytes:
        try:
            return self._response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise FlowerAway(f"broke off: {_words(error)}") from error


def ask(base: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send a request to the Flower at ``base``, with the name and password of that URL.

    :param target: the path and query, encoded.
    :raises FlowerAway: when it cannot be reached or says no HTTP.
    """
    parts = urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=CONNECT_SECONDS)
    sent = dict(headers)
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        sent["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    try:
        connection.connect()
        connection.sock.settimeout(READ_SECONDS)
        connection.request(method, target, body or None, sent)
        return Answer(connection, connection.getresponse())
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        raise FlowerAway(_words(error)) from error


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
