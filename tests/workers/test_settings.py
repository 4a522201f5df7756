"""Production refuses unsafe defaults, and a message names the variable and the remedy."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ordersaga.errors import ConfigurationError
from workers.production_checks import SAMPLE_SECRET
from workers.settings import PREFIX, Settings, read

EXAMPLE = Path(__file__).parents[2] / ".env.example"
GOOD_SECRET = "k3y" * 12
SAFE = {
    "ENV": "production",
    "SECRET_KEY": "s" * 50,
    "SIGNING_KEYS": f"2024:{GOOD_SECRET}",
    "ORDERS_DATABASE_URL": "postgresql://orders:x1@db1/orders",
    "INVENTORY_DATABASE_URL": "postgresql://inventory@/inventory?host=/run/postgresql",
    "PAYMENTS_DATABASE_URL": "postgresql://payments:x3@db3/payments",
    "BROKER_URL": "amqp://saga:x4@mq:5672//",
    "ALLOWED_HOSTS": "shop.example, .example.org",
}


@pytest.fixture(autouse=True)
def _an_empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # without a developer's .env
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(ConfigurationError) as refused:
        read()
    return str(refused.value)


def test_development_starts_with_nothing_set() -> None:
    assert read().env == "development"


def test_production_starts_with_safe_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SAFE.items():
        monkeypatch.setenv(PREFIX + name, value)
    assert read().allowed_hosts == ("shop.example", ".example.org")


def test_production_names_every_unsafe_default_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, ENV="production")
    for name in SAFE.keys() - {"ENV", "ALLOWED_HOSTS"}:
        assert f"ORDERSAGA_{name} " in message


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("DEBUG", "true", "unset it"),
        ("SECRET_KEY", SAMPLE_SECRET, "secrets.token_urlsafe"),
        ("SECRET_KEY", "short", "shorter than 32 bytes"),
        ("SIGNING_KEYS", f"a:{GOOD_SECRET},b:{SAMPLE_SECRET}", "sample secret"),
        ("SIGNING_KEYS", f"a:{GOOD_SECRET},b:short", "shorter than 32 bytes"),
        ("ALLOWED_HOSTS", "shop.example,*", "list the names"),
        ("BROKER_URL", "amqp://guest:guest@mq//", "a separate user"),
        ("BROKER_URL", "amqp://mq:5672//", "a separate user"),
        ("BROKER_URL", "amqp://saga:x@a//;amqp://guest:guest@b//", "a separate user"),
        ("BROKER_URL", "pgmq://saga:saga@db/broker", "a separate user"),
        ("ORDERS_DATABASE_URL", "postgresql://shop:shop@db/orders", "a random password"),
        ("INVENTORY_DATABASE_URL", "postgresql://a%40b:a%40b@db/inventory", "a random password"),
        ("PAYMENTS_DATABASE_URL", "postgresql://pay:pay@db/payments", "a random password"),
    ],
)
def test_production_refuses_an_unsafe_value_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, remedy: str
) -> None:
    message = refusal(monkeypatch, **{**SAFE, name: value})
    assert f"ORDERSAGA_{name} " in message
    assert remedy in message
    assert message.count("ORDERSAGA_") == 1, "nothing else is blamed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENV", "staging"),
        ("DEBUG", "perhaps"),
        ("DEADLINE", "soon"),
        ("DEADLINE", "0"),
        ("WATCHDOG_ROUNDS", "none"),
        ("LINGER", "-1"),
        ("SIGNING_KEYS", "no-colon-here"),
        ("SIGNING_KEYS", "a:one,a:two"),
        ("PARTICIPANTS", " , "),
        ("ORDERS_DATABASE_URL", ""),
        ("BROKER_URL", ""),
    ],
)
def test_a_malformed_value_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert f"ORDERSAGA_{name}: " in refusal(monkeypatch, **{name: value})


def test_an_error_never_prints_the_value_of_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hunter2" not in refusal(monkeypatch, SIGNING_KEYS="hunter2")
    assert "hunter2" not in refusal(
        monkeypatch, **{**SAFE, "ORDERS_DATABASE_URL": "postgresql://hunter2:hunter2@db/o"}
    )


def test_participants_and_durations_are_read_from_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERSAGA_PARTICIPANTS", "workers.orders, shop.loyalty")
    monkeypatch.setenv("ORDERSAGA_DEADLINE", "90")
    monkeypatch.setenv("ORDERSAGA_WATCHDOG_CAP", "PT10M")
    assert read().participants == ("workers.orders", "shop.loyalty")
    assert read().deadline == timedelta(seconds=90)
    assert read().watchdog_cap == timedelta(minutes=10)


def test_the_example_file_lists_every_variable_and_default() -> None:
    assert read(_env_file=EXAMPLE) == read()
    written = {line.partition("=")[0] for line in EXAMPLE.read_text().splitlines() if line and line[0] != "#"}
    assert written == {PREFIX + name.upper() for name in Settings.model_fields}


def test_the_env_file_of_the_working_directory_is_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("ORDERSAGA_DEADLINE=1")
    (tmp_path / "other.env").write_text("ORDERSAGA_DEADLINE=2")
    seconds = []
    for named in (".env", "other.env", ""):
        monkeypatch.setenv("ORDERSAGA_DOTENV", named)
        seconds.append(read().deadline.total_seconds())
    monkeypatch.delenv("ORDERSAGA_DOTENV")
    assert [*seconds, read().deadline.total_seconds()] == [1, 2, 900, 1]
