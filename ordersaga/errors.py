"""The error tree. Each error carries its data as attributes.

OrderSagaError                      all errors of this package
├── DeclarationError                a signal, step or choreography is declared wrongly (at import or start)
├── NoTransaction                   a signal must be recorded in a transaction, and none is open
├── WrongDatabase                   a saga must start in its initiator's database
├── UnknownSaga                     the initiator's database has no such saga
├── SignalTooLarge                  a signal exceeds the limit for one signal
├── PublishFailed                   the broker did not confirm some envelopes
├── EnvelopeError                   an envelope is malformed, unsigned, too large or not consumed here
├── UnreadableVersion               this process cannot read a signal's version
│   └── NewerVersion                only a later release of it can
├── ConfigurationError              settings are missing or unsafe
│   ├── InvalidConnectionString     libpq cannot read a connection string
│   ├── PoolerRefused               a direct connection is needed, and this is a connection pooler
│   └── OtherSaga                   a virtual host carries the signals of another kind of saga
├── Unhandled                       an envelope could not be handled; for Celery, without personal data
└── WaitAborted                     the wait for a database ended before the database worked
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class OrderSagaError(Exception):
    """The base of all errors of this package."""


class DeclarationError(OrderSagaError):
    """A signal, step or choreography is declared wrongly; raised before the first message.

    :ivar subject: the name of the declaration (``inventory.reserve_stock``).
    :ivar fault: the broken rule, as the predicate of a sentence about ``subject``.
    :ivar remedy: what to do.
    """

    def __init__(self, subject: str, fault: str, remedy: str) -> None:
        super().__init__(f"{subject}: {fault}. {remedy}.")
        self.subject, self.fault, self.remedy = subject, fault, remedy


class NoTransaction(OrderSagaError):
    """No transaction is open, so a signal could be lost, or be emitted without its change."""


class WrongDatabase(OrderSagaError):
    """A saga must start in its initiator's database, whose relay publishes its signals."""


class UnknownSaga(OrderSagaError, LookupError):
    """The initiator's database has no such saga: it never started, was not committed, or was pruned."""


class SignalTooLarge(OrderSagaError, ValueError):
    """A signal exceeds the limit for one signal; raised in the transaction that emits it.

    :ivar signal: the name of its class.
    :ivar size: of its row in JSON, in bytes.
    :ivar limit: in bytes.
    """

    def __init__(self, signal: str, size: int, limit: int) -> None:
        super().__init__(
            f"{signal} has {size:,} bytes and a signal may have {limit:,}: "
            "store the data elsewhere and send its key"
        )
        self.signal, self.size, self.limit = signal, size, limit


class PublishFailed(OrderSagaError):
    """The broker did not confirm some envelopes, for a general reason; the outbox keeps them.

    :ivar confirmed: the envelopes of the same call that the broker confirmed.
    :ivar rejected: envelopes that it rejected individually. All others may or may not have arrived.
    """

    def __init__(self, fault: str, confirmed: Sequence[Any] = (), rejected: Sequence[Any] = ()) -> None:
        super().__init__(fault)
        self.confirmed, self.rejected = confirmed, rejected


class EnvelopeError(OrderSagaError):
    """An envelope cannot be accepted and becomes a dead letter.

    :ivar digest: the first 16 hexadecimal digits of the SHA-256 of its body, which identify it.
    """

    def __init__(self, fault: str, digest: str = "") -> None:
        super().__init__(f"{fault} (body sha256 {digest})" if digest else fault)
        self.fault, self.digest = fault, digest


class UnreadableVersion(OrderSagaError, ValueError):
    """A process cannot read a signal's version; the message has the remedy."""


class NewerVersion(UnreadableVersion):
    """Only a later release of this process can read the signal's version; the signal waits for it."""


class ConfigurationError(OrderSagaError):
    """Settings are missing or unsafe; the message names the variable and the remedy."""


class InvalidConnectionString(ConfigurationError, ValueError):
    """libpq cannot read a connection string; the message quotes no part of it, because of the password."""


class PoolerRefused(ConfigurationError):
    """A connection pooler gives each transaction another session; the message names the setting to change."""


class OtherSaga(ConfigurationError):
    """A virtual host carries another kind of saga; the two would receive each other's signals.

    :ivar saga: the kind that this process runs.
    :ivar other: the kind that uses the virtual host.
    """

    def __init__(self, saga: str, other: str) -> None:
        super().__init__(
            f"this virtual host of the broker carries saga {other}, and not {saga}: "
            "use a separate virtual host for each kind of saga (ORDERSAGA_BROKER_URL)"
        )
        self.saga, self.other = saga, other


class WaitAborted(OrderSagaError):
    """The wait for a database was given up: the process stops, or the envelope was published again."""


class Unhandled(OrderSagaError):
    """An envelope could not be handled.

    Celery logs the message and sends it as an event, so it contains only the safe part of the original error.
    """
