"""Generates mutated AMQP messages, byte by byte: properties and headers of every type, and missing ones."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

import amqp
from amqp import spec

from ordersaga.celery.message_verification import CONTENT_TYPE
from ordersaga.ids import new_id
from tests.support.amqp_client import KEYRING, envelope_body
from tests.support.rabbitmq import RabbitMQ

TEXTS = (
    b"",
    b"\0",
    b"a\0b",
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"\xc3\x28",
    "é☃😀".encode(),
    b"%1$s",
    b'"',
    b"\\",
    b"{}",
    b"[",
    b"None",
    b"-1",
    b"1e999",
    b"NaN",
    b"\n\r\x1b[2J",
    b"x" * 255,
    b"a" * 40_000,
    b"signal.OrderPlaced",
    b"inventory.reserve_stock",
    b"celery.chord_unlock",
    b"this:" + b"0" * 64,
    b"application/json",
    b"application/x-python-serialize",
    b"binary",
    b"zlib",
)
"""NUL, a lone surrogate, invalid UTF-8, texts with a special meaning, and long texts."""
NAMES = (
    "task",
    "id",
    "ordersaga-signals",
    "ordersaga-signature",
    "x-delivery-count",
    "x-first-death-reason",
    "x-first-death-queue",
    "compression",
    "lang",
    "root_id",
    "parent_id",
    "group",
    "eta",
    "expires",
    "retries",
    "timelimit",
    "argsrepr",
    "origin",
    "callbacks",
    "errbacks",
    "chain",
    "chord",
    "clock",
    "ticket",
    "hostname",
    "",
    "\udcff",
)
"""Headers that a consumer reads: the engine's, Celery's, or the one of dead letters."""
HARMLESS = (
    "ping",
    "stats",
    "conf",
    "registered",
    "hello",
    "active",
    "report",
    "heartbeat",
    "no such command",
    "__class__",
    "",
)
"""Remote-control commands that stop and change nothing."""


class Mutant(NamedTuple):
    """A mutated message.

    :ivar kept: whether it must become a dead letter, unless the broker refuses it.
    """

    exchange: str
    key: bytes
    properties: bytes
    body: bytes
    kept: bool = True

    @property
    def digest(self) -> str:
        """Return the digest under which the body of a dead letter is stored."""
        return hashlib.sha256(self.body).hexdigest()


class Fuzz:
    """Generates messages from a seed: the same ones each time, except for ids and the markers of bodies."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def messages(self, count: int, participants: Sequence[str]) -> Iterator[Mutant]:
        """Yield messages to the participants' queues, the dead-letter queues and unconsumed queues."""
        for number in range(count):
            to = self._random.choice(participants)
            address = ("ordersaga", f"to.{to}".encode())
            match number % 20:
                case 0:
                    address = ("ordersaga.dead", to.encode())
                case 1:
                    address = (
                        "ordersaga",
                        self._random.choice((b"unknown", b"\xff.x", b"\xed\xa0\x80", b"")),
                    )
            properties = self._properties()
            expires = struct.unpack(">H", properties[:2])[0] & 0x100
            # The broker deletes a message that expires in a queue without a dead-letter queue.
            yield Mutant(
                *address, properties, self._body(), kept=not expires or address[1].startswith(b"to.")
            )

    def celery_messages(self, count: int) -> Iterator[Mutant]:
        """Yield Celery events and remote-control commands."""
        for number in range(count):
            keys = (
                b"worker.heartbeat",
                b"worker.elect",
                b"worker.elect.ack",
                b"worker.\xff",
                b"worker.online",
                b"worker.\xed\xa0\x80",
            )
            event = bool(number % 2)
            body = self._event() if event else self._command()
            if self._one_in(6):
                body = self._body()
            exchange, key = (
                ("celeryev", self._random.choice(keys))
                if event
                else ("celery.pidbox", self._random.choice(TEXTS[:12]))
            )
            properties = (
                self._properties() if self._one_in(3) else _plain_json(self._table({"clock": self._value()}))
            )
            yield Mutant(exchange, key, properties, body, kept=False)

    # -- properties -----------------------------------------------------------------------------------

    def _properties(self) -> bytes:
        """Return a flag word and the properties it announces, most of them valid."""
        flags, fields = 0, b""
        genuine: dict[int, Callable[[], bytes]] = {
            15: lambda: _short(CONTENT_TYPE.encode()),
            14: lambda: _short(b"binary"),
            13: self._headers,
            12: lambda: b"\x02",
            11: lambda: b"\x04",
            10: lambda: _short(new_id().encode()),
            9: lambda: _short(b"reply"),
            8: lambda: _short(b"60000"),
            7: lambda: _short(new_id().encode()),
            6: lambda: struct.pack(">Q", 1_700_000_000),
            5: lambda: _short(b"type"),
            3: lambda: _short(b"app"),
            2: lambda: _short(b"cluster"),
        }
        for bit, make in genuine.items():
            if self._one_in(4 if bit in (15, 13) else 2):
                continue  # absent
            flags |= 1 << bit
            fields += self._mutated(bit) if self._one_in(4) and bit != 13 else make()
        return struct.pack(">H", flags) + fields

    def _mutated(self, bit: int) -> bytes:
        if bit in (12, 11):
            return bytes([self._random.randrange(256)])
        if bit == 6:
            return struct.pack(">Q", self._random.choice((0, 2**63, 2**64 - 1, 10**15)))
        if bit == 8:
            return _short(self._random.choice((b"0", b"1", b"1000")))
        return _short(self._random.choice(TEXTS)[:255])

    def _headers(self) -> bytes:
        """Return the headers of an envelope with a wrong signature, some mutated, missing or added."""
        id_ = new_id()
        values: dict[str, bytes] = {
            "task": _long(b"signal.OrderPlaced"),
            "id": _long(id_.encode()),
            "ordersaga-signals": b"I" + struct.pack(">i", 1),
            "ordersaga-signature": _long(
                KEYRING.sign(id_, "signal.OrderPlaced", 1, b"another body").encode()
            ),
        }
        for _ in range(self._random.choice((0, 1, 1, 2, 5))):
            values[self._random.choice(NAMES)] = self._value()
        if self._one_in(5):
            values.pop(self._random.choice(list(values)))
        if self._one_in(50):
            values["deep"] = _nested(self._random.choice((3, 20, 200, 5_000)), self._one_in(2))
        return self._table(values)

    def _table(self, values: dict[str, bytes]) -> bytes:
        items = b"".join(
            _short(name.encode(errors="surrogateescape")) + value for name, value in values.items()
        )
        return struct.pack(">I", len(items)) + items

    def _value(self) -> bytes:
        """Return a field of any type that the broker accepts, with its tag."""
        random = self._random
        makers: tuple[Callable[[], bytes], ...] = (
            lambda: _long(random.choice(TEXTS)),
            lambda: _long(random.choice(TEXTS)),
            lambda: b"x" + _long(random.choice(TEXTS))[1:],
            lambda: b"I" + struct.pack(">i", random.choice((0, -1, 7, 2**31 - 1, -(2**31)))),
            lambda: b"l" + struct.pack(">q", random.choice((2**63 - 1, -(2**63), 10**12))),
            lambda: b"s" + struct.pack(">h", -1),
            lambda: b"b" + struct.pack(">b", -1),
            lambda: b"d" + struct.pack(">d", random.choice((float("nan"), float("inf"), 1e308, -0.0))),
            lambda: b"f" + struct.pack(">f", 0.1),
            lambda: b"D" + struct.pack(">Bi", random.choice((0, 255)), 12_345),
            lambda: b"T" + struct.pack(">Q", random.choice((0, 2**62, 253_402_300_800))),
            lambda: b"t" + bytes([random.randrange(2)]),
            lambda: b"V",
            lambda: b"A" + self._array([self._value() for _ in range(random.randrange(3))]),
            lambda: (
                b"F"
                + self._table({name: self._value() for name in random.sample(NAMES, random.randrange(3))})
            ),
        )
        return random.choice(makers)()

    def _array(self, values: list[bytes]) -> bytes:
        items = b"".join(values)
        return struct.pack(">I", len(items)) + items

    # -- bodies ---------------------------------------------------------------------------------------

    def _body(self) -> bytes:
        """Return a unique body, so that each message can be found, or sometimes an empty one."""
        token = new_id().encode()
        body = envelope_body(
            "signal.OrderPlaced", new_id(), json.dumps({"order": "1", "customer": token.decode()})
        )
        match self._random.randrange(12):
            case 0:
                return b""
            case 1:
                return token + self._random.choice(TEXTS)
            case 2:
                return body[: self._random.randrange(1, len(body))] + token
            case 3:
                place = self._random.randrange(len(body))
                return body[:place] + self._random.randbytes(3) + body[place:] + token
            case 4:
                return b"[" * self._random.choice((1, 500, 100_000)) + token
            case 5:
                return json.dumps(
                    {
                        "packs": self._random.choice(([], {}, 7, [[]], [{"signals": [[None] * 9]}])),
                        "x": token.decode(),
                    }
                ).encode()
            case 6:
                return b"\x80\x04\x95" + token
            case 7:
                return self._random.randbytes(self._random.randrange(1, 5_000)) + token
            case _:
                return body

    def _event(self) -> bytes:
        event: dict[str, Any] = {
            "type": "worker-heartbeat",
            "hostname": f"stranger-{self._random.randrange(5)}@h",
            "utcoffset": 0,
            "pid": 1,
            "clock": 1,
            "timestamp": 1.7e9,
            "freq": 2.0,
            "active": 0,
            "processed": 0,
            "loadavg": [0, 0, 0],
        }
        for _ in range(self._random.choice((0, 1, 2))):
            event[self._random.choice([*event, "id", "topic", "cver", "action"])] = self._json()
        return json.dumps(event).encode()

    def _command(self) -> bytes:
        command: dict[str, Any] = {
            "method": self._random.choice(HARMLESS),
            "arguments": {},
            "destination": None,
            "pattern": None,
            "matcher": None,
            "ticket": new_id(),
            "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "x"},
        }
        for _ in range(self._random.choice((0, 1, 2))):
            command[self._random.choice([*(name for name in command if name != "method"), "more"])] = (
                self._json()
            )
        if self._one_in(10):
            command["method"] = self._json()
        return json.dumps(command).encode()

    def _json(self) -> Any:
        values: tuple[Any, ...] = (
            None,
            True,
            -1,
            2**70,
            10**400,
            1e308,
            float("nan"),
            float("inf"),
            "",
            "\ud800",
            "\0",
            "x" * 70_000,
            [],
            [[]],
            {},
            {"": {}},
            {"exchange": "ordersaga", "routing_key": "to.inventory"},
            {"exchange": [], "routing_key": None},
            ["a", 1],
        )
        return self._random.choice(values)

    def _one_in(self, many: int) -> bool:
        return self._random.randrange(many) == 0


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _long(text: bytes) -> bytes:
    return b"S" + struct.pack(">I", len(text)) + text


def _nested(depth: int, arrays: bool) -> bytes:
    value = b"V"
    for _ in range(depth):
        inner = value if arrays else _short(b"k") + value
        value = (b"A" if arrays else b"F") + struct.pack(">I", len(inner)) + inner
    return value


def _plain_json(headers: bytes) -> bytes:
    return struct.pack(">H", 0xE000) + _short(b"application/json") + _short(b"utf-8") + headers


class _Raw(amqp.Message):
    """A message whose properties are bytes."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(mutant.body)
        self._raw = mutant.properties

    def _serialize_properties(self) -> bytes:
        return self._raw


class Sender:
    """Publishes mutants with confirms, some hundred at a time, and counts those that the broker refuses."""

    BATCH = 200

    def __init__(self, rabbitmq: RabbitMQ, vhost: str) -> None:
        self._rabbitmq, self._vhost = rabbitmq, vhost
        self.refused = 0
        self.accepted: list[Mutant] = []

    def send(self, mutants: Iterator[Mutant]) -> None:
        batch: list[Mutant] = []
        for mutant in mutants:
            batch.append(mutant)
            if len(batch) == self.BATCH:
                self._send(batch)
                batch = []
        self._send(batch)

    def _send(self, batch: list[Mutant]) -> None:
        """Publish the mutants together; if the broker closes the connection or channel, publish them in
        halves.
        """
        if not batch:
            return
        try:
            self._publish(batch)
        except (amqp.ConnectionError, amqp.ChannelError, OSError):
            if len(batch) == 1:
                self.refused += 1
                return
            middle = len(batch) // 2
            self._send(batch[:middle])
            self._send(batch[middle:])
        else:
            self.accepted += batch

    def _publish(self, batch: list[Mutant]) -> None:
        connection = self._rabbitmq.connect(self._vhost)
        connection.connect()
        try:
            channel, confirmed = connection.channel(), set[int]()
            channel.confirm_select()

            def acknowledged(tag: int, multiple: bool) -> None:
                confirmed.update(range(1, tag + 1) if multiple else [tag])

            channel.events["basic_ack"].add(acknowledged)
            for mutant in batch:
                channel.send_method(
                    spec.Basic.Publish, "Bssbb", (0, mutant.exchange, mutant.key, False, False), _Raw(mutant)
                )
            while len(confirmed) < len(batch):
                connection.drain_events(timeout=30)
        finally:
            connection.collect()
