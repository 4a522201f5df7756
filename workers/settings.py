"""The settings: ``ORDERSAGA_*`` variables, from the environment and ``.env`` (or ``ORDERSAGA_DOTENV``)."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ordersaga.conninfo import parse_address
from ordersaga.errors import ConfigurationError
from ordersaga.step import Retry
from workers.production_checks import SAMPLE_SECRET, signing_pairs, unsafe_defaults

PREFIX = "ORDERSAGA_"


def _split_names(value: Any) -> Any:
    """Split comma separated text; leave everything else to pydantic."""
    return (
        tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value
    )


def _check_signing_keys(value: str) -> str:
    signing_pairs(value)
    return value


def _check_database_url(value: str) -> str:
    if value:
        parse_address(value)
    return value


def _check_broker_url(value: str) -> str:
    """Check the addresses of a broker's servers; the application checks the kind of broker."""
    if value.startswith("pgmq"):
        return _check_database_url(value)
    try:
        any(urlsplit(node).port for node in value.split(";"))
    except ValueError:
        raise ValueError(
            "is no address; write amqp://user:password@host:5672/vhost, several nodes separated by ;"
        ) from None
    return value


def _check_origin(value: str) -> str:
    try:
        parts = urlsplit(value)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            "is no address; write http://host:port or http://name:password@host:port, without a path"
        )
    return value


def _empty_to_none(value: Any) -> Any:
    return value or None


def _read_seconds(value: Any) -> Any:
    """Read ``900`` or ``0.025`` as seconds; leave everything else to pydantic."""
    try:
        return timedelta(seconds=float(value)) if isinstance(value, str) else value
    except (ValueError, OverflowError):
        return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_names)]
Text = Annotated[str, Field(min_length=1)]
DatabaseUrl = Annotated[str, Field(min_length=1), AfterValidator(_check_database_url)]
BrokerUrl = Annotated[str, Field(min_length=1), AfterValidator(_check_broker_url)]
OptionalDatabaseUrl = Annotated[str, AfterValidator(_check_database_url)]
SomeNames = Annotated[Names, Field(min_length=1)]
Duration = Annotated[timedelta, BeforeValidator(_read_seconds), Field(gt=timedelta(0))]
Pause = Annotated[timedelta, BeforeValidator(_read_seconds), Field(ge=timedelta(0), le=timedelta(seconds=1))]


Domain = Literal["orders", "inventory", "payments"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)
"""The participants whose databases are settings."""


class Settings(BaseSettings):
    """The settings; the defaults are for development on one machine.

    Durations are read as seconds (``900``), ``[days ]HH:MM:SS`` or ISO 8601 (``PT15M``).
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    env: Literal["development", "test", "production"] = "development"
    debug: bool = False
    secret_key: Text = SAMPLE_SECRET
    allowed_hosts: SomeNames = ("localhost", "127.0.0.1")
    orders_database_url: DatabaseUrl = "postgresql://orders:orders@127.0.0.1:5432/ordersaga_orders"
    inventory_database_url: DatabaseUrl = (
        "postgresql://inventory:inventory@127.0.0.1:5432/ordersaga_inventory"
    )
    payments_database_url: DatabaseUrl = "postgresql://payments:payments@127.0.0.1:5432/ordersaga_payments"
    orders_direct_url: OptionalDatabaseUrl = ""
    inventory_direct_url: OptionalDatabaseUrl = ""
    payments_direct_url: OptionalDatabaseUrl = ""
    """Direct URLs of the servers, if the database URLs lead to a pooler; see :meth:`direct_url`."""
    inventory_reader_url: OptionalDatabaseUrl = ""
    payments_reader_url: OptionalDatabaseUrl = ""
    """Read-only roles for the pages on stock and ledger; see :meth:`reader_url`."""
    broker_url: BrokerUrl = "amqp://guest:guest@127.0.0.1:5672//"
    signing_keys: Annotated[str, AfterValidator(_check_signing_keys)] = f"sample:{SAMPLE_SECRET}"
    """``id:secret`` pairs, comma separated; the first signs, all are accepted."""
    participants: SomeNames = ("workers.orders", "workers.inventory", "workers.payments")
    """Packages of participants with steps, comma separated; stored in each saga when it starts."""
    observers: Names = ("workers.audit",)
    """Packages of observers; may be empty."""
    deadline: Duration = timedelta(minutes=15)
    watchdog: Duration = timedelta(seconds=30)
    watchdog_cap: Duration = timedelta(minutes=10)
    watchdog_rounds: Annotated[int, Field(ge=1)] = 5
    retry_horizon: Annotated[Duration | None, BeforeValidator(_empty_to_none)] = None
    """How long a step that raises is retried before its order is rolled back; see
    :attr:`step_retry_horizon`.
    """
    linger: Pause = timedelta(milliseconds=100)
    hold: Duration = timedelta(seconds=60)
    """How long a pool holds an envelope while its database is down, before it publishes it again."""
    run_dir: Annotated[Path | None, BeforeValidator(_empty_to_none)] = None
    """The folder of heartbeat files; None: ``ordersaga-<user id>`` in the temporary folder."""
    flower_url: Annotated[str, AfterValidator(_check_origin)] = "http://127.0.0.1:5555"
    """Flower's URL for the web process, with the name and password of its basic auth, if any."""
    retention: Duration = timedelta(days=90)
    """How long ended sagas are kept; ``manage.py prune`` refuses less than the minimum retention."""
    log_format: Annotated[Literal["json", "console"] | None, BeforeValidator(_empty_to_none)] = None
    """The log format of pools, web and Flower; None: json in production, console elsewhere."""

    @property
    def step_retry_horizon(self) -> timedelta:
        """``retry_horizon``; by default four and a quarter minutes, at most a third of the deadline."""
        return self.retry_horizon or min(Retry().horizon, self.deadline / 3)

    @property
    def logs_json(self) -> bool:
        """Whether logs are JSON."""
        return (self.log_format or ("json" if self.env == "production" else "console")) == "json"

    def direct_url(self, domain: Domain) -> str:
        """The URL for relays, migrations and operators' checks, which need a session."""
        direct: str = getattr(self, f"{domain}_direct_url")
        return direct or str(getattr(self, f"{domain}_database_url"))

    def direct_variable(self, domain: Domain) -> str:
        """The name of the variable that :meth:`direct_url` reads."""
        kind = "DIRECT" if getattr(self, f"{domain}_direct_url") else "DATABASE"
        return f"{PREFIX}{domain.upper()}_{kind}_URL"

    def reader_url(self, domain: Literal["inventory", "payments"]) -> str | None:
        """The URL with which the web process reads a participant's database.

        By default the participant's role, and None in production.
        """
        url: str = getattr(self, f"{domain}_reader_url")
        own: str = getattr(self, f"{domain}_database_url")
        return url or (None if self.env == "production" else own)

    @model_validator(mode="after")
    def _retries_end_before_the_deadline(self) -> Self:
        if self.retry_horizon is not None and self.retry_horizon >= self.deadline:
            raise ValueError(
                f"{PREFIX}RETRY_HORIZON is not shorter than {PREFIX}DEADLINE, so that orders would expire "
                "before a failing step is given up; choose a shorter one"
            )
        return self

    @model_validator(mode="after")
    def _safe_in_production(self) -> Self:
        if self.env == "production" and (faults := unsafe_defaults(self)):
            raise ValueError("\n  ".join(f"{PREFIX}{name.upper()} {fault}" for name, fault in faults))
        return self


def read(**overrides: Any) -> Settings:
    """Read the environment again; ``overrides`` take precedence.

    :raises ConfigurationError: when variables are malformed or unsafe; the message names each with its
        remedy, and contains no values, because they may be secrets.
    """
    dotenv = os.environ.get(f"{PREFIX}DOTENV", ".env")
    try:
        return Settings(**{"_env_file": dotenv or None, **overrides})
    except ValidationError as error:
        faults = [
            f"{PREFIX}{str(fault['loc'][0]).upper()}: {_without_prefix(fault['msg'])}"
            if fault["loc"]
            else _without_prefix(fault["msg"])
            for fault in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigurationError("Settings refused:\n  " + "\n  ".join(faults)) from None


def _without_prefix(message: str) -> str:
    return message.removeprefix("Value error, ")


@cache
def settings() -> Settings:
    """The settings of this process; raises as :func:`read` does."""
    return read()
