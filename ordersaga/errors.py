"""The error tree. Each error carries its data as attributes.

OrderSagaError                      everything this package raises on purpose
├── DeclarationError                a signal, step or choreography is declared wrongly (at import or start)
├── NoTransaction                   a signal was to be recorded outside a transaction
├── WrongDatabase                   a saga was to be started in a database that is not its initiator's
├── UnknownSaga                     a signal was addressed to a saga that is not there
├── SignalTooLarge                  a signal is larger than any envelope may be
├── PublishFailed                   the broker has not taken some envelopes
├── EnvelopeError                   an envelope cannot be accepted: undecodable, unsigned, too large, unknown
├── UnreadableVersion               a signal is of a version that this process cannot read
│   └── NewerVersion                … and a later deploy of it can
├── ConfigurationError              settings are missing or unsafe
│   ├── InvalidConnectionString     a connection string that libpq cannot read
│   ├── PoolerRefused               a connection pooler where a direct connection is needed
│   └── OtherSaga                   a virtual host that carries the signals of another kind of saga
├── Unhandled                       an envelope could not be handled: what is told of it outside the process
└── Stopping                        the process stops while the database is away
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class OrderSagaError(Exception):
    """Everything this package raises on purpose."""


class DeclarationError(OrderSagaError):
    """A signal, step or choreography is declared wrongly; raised before the first message.

    :ivar subject: what is wrong, by name (``inventory.reserve_stock``).
    :ivar fault: what is wrong with it.
    :ivar remedy: what to do.
    """

    def __init__(self, subject: str, fault: str, remedy: str) -> None:
        super().__init__(f"{subject}: {fault}. {remedy}.")
        self.subject, self.fault, self.remedy = subject, fault, remedy


class NoTransaction(OrderSagaError):
    """A signal was to be recorded outside a transaction, where it could outlive the change it tells of, or be
    lost.
    """


class WrongDatabase(OrderSagaError):
    """A saga was to be started in a database that is not its initiator's, from where nobody would publish its
    signals.
    """


class UnknownSaga(OrderSagaError, LookupError):
    """A signal was addressed to a saga that is not in the initiator's database: never started, rolled back,
    or pruned.
    """


class SignalTooLarge(OrderSagaError, ValueError):
    """A signal exceeds the limit for one signal; raised in the transaction that emits it.

    :ivar signal: the name of its class.
    :ivar size: its bytes as it would travel.
    :ivar limit: the bytes that it may have.
    """

    def __init__(self, signal: str, size: int, limit: int) -> None:
        super().__init__(
            f"{signal} has {size:,} bytes and a signal may have {limit:,}: keep the data elsewhere and send its key"
        )
        self.signal, self.size, self.limit = signal, size, limit


class PublishFailed(OrderSagaError):
    """The broker has not taken some envelopes, for a reason that is not theirs; the outbox keeps them.

    :ivar confirmed: the envelopes of the same call that the broker has confirmed.
    :ivar refused: those that were refused for a reason of their own. All others may or may not have arrived.
    """

    def __init__(self, fault: str, confirmed: Sequence[Any] = (), refused: Sequence[Any] = ()) -> None:
        super().__init__(fault)
        self.confirmed, self.refused = confirmed, refused


class EnvelopeError(OrderSagaError):
    """An envelope that cannot be accepted; it goes to the dead letters unread.

    :ivar digest: the first 16 hexadecimal digits of the SHA-256 of its body, to find it by without printing
        it.
    """

    def __init__(self, fault: str, digest: str = "") -> None:
        super().__init__(f"{fault} (body sha256 {digest})" if digest else fault)
        self.fault, self.digest = fault, digest


class UnreadableVersion(OrderSagaError, ValueError):
    """A signal is of a version that this process cannot read; the message says what to do."""


class NewerVersion(UnreadableVersion):
    """A signal is of a version that only a later deploy of this process can read; it waits for that."""


class ConfigurationError(OrderSagaError):
    """Settings are missing or unsafe; the message names the variable and the remedy."""


class InvalidConnectionString(ConfigurationError, ValueError):
    """A connection string that libpq cannot read; the message prints no part of it, since it may hold a
    password.
    """


class PoolerRefused(ConfigurationError):
    """A connection leads to a pooler that gives each transaction another session; the message says what to
    set.
    """


class OtherSaga(ConfigurationError):
    """A virtual host carries the signals of another kind of saga: the two would receive each other's.

    :ivar saga: the kind that was to use it.
    :ivar other: the kind that uses it.
    """

    def __init__(self, saga: str, other: str) -> None:
        super().__init__(
            f"this virtual host of the broker carries saga {other}, and not {saga}: use a separate virtual host for each kind "
            f"of saga (ORDERSAGA_BROKER_URL)"
        )
        self.saga, self.other = saga, other


class Stopping(OrderSagaError):
    """The process stops while the database is away; the envelope goes back to the broker."""


class Unhandled(OrderSagaError):
    """An envelope could not be handled. Its message tells the kind of what was raised and not its words,
    which may hold anything: Celery logs it, and sends it to whoever watches.
    """
