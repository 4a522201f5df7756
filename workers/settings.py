"""The environment, read once: ``ORDERSAGA_*`` variables and an optional ``.env`` file."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SAMPLE_SECRET = "sample-secret-change-me-0123456789abcdef"


class Settings(BaseSettings):
    """What the environment decides; every default serves one machine in development."""

    model_config = SettingsConfigDict(env_prefix="ORDERSAGA_", env_file=".env", extra="ignore", frozen=True)

    env: Literal["development", "test", "production"] = "development"
    debug: bool = False
    secret_key: str = SAMPLE_SECRET
    allowed_hosts: str = "localhost,127.0.0.1"
    orders_database_url: str = "postgresql://orders:orders@127.0.0.1:5432/ordersaga_orders"
    inventory_database_url: str = "postgresql://inventory:inventory@127.0.0.1:5432/ordersaga_inventory"
    payments_database_url: str = "postgresql://payments:payments@127.0.0.1:5432/ordersaga_payments"
    broker_url: str = "amqp://guest:guest@127.0.0.1:5672//"
    signing_keys: str = f"sample:{SAMPLE_SECRET}"
    """``id:secret`` pairs, comma separated; the first signs, all are accepted."""
    participants: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("workers.orders", "workers.inventory", "workers.payments", "workers.audit")
    )
    """Modules that hold a participant, comma separated in the environment; frozen into each saga when it starts."""
    deadline: timedelta = timedelta(minutes=15)
    watchdog: timedelta = timedelta(seconds=30)
    watchdog_cap: timedelta = timedelta(minutes=10)
    watchdog_rounds: int = 5
    linger: timedelta = timedelta(milliseconds=25)


@cache
def settings() -> Settings:
    """The settings of this process.

    :raises pydantic.ValidationError: when a variable is malformed or unsafe; the message names it.
    """
    return Settings()
