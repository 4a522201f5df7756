"""Runs the commands of docker-compose.yml and of the units, with the same environment, as plain processes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.deploy.conftest import InstalledImage
from tests.deploy.site import Site
from tests.deploy.units import example, units
from tests.support.polling import eventually
from tests.support.processes import Process, run_dir
from tests.support.time_scale import scaled

STAYING = ("orders", "inventory", "payments", "audit", "web", "flower")
READY = 90.0
PASSWORD = "only-for-this-test"
LAST_LINES = ("", "worker: Warm shutdown (MainProcess)")
"""The lines that Celery prints without logging when it is stopped."""


def run_once(image: InstalledImage, service: str, *words: str, **more: str) -> str:
    """Run a command of compose that ends by itself and must succeed; return its output."""
    found = image.services()[service]
    done = subprocess.run(
        image.command([*found.command[: len(found.command) - bool(words)], *words]),
        cwd=image.folder, env=image.environment({**found.environment, **more}),
        capture_output=True, text=True, check=False, timeout=scaled(120),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def migrated(image: InstalledImage) -> InstalledImage:
    run_once(image, "migrate")
    run_once(image, "manage", "seed_catalog")
    run_once(
        image,
        "manage",
        "createsuperuser",
        "--noinput",
        "--username=ann",
        "--email=",
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
    )
    return image


def composed(image: InstalledImage) -> dict[str, Process]:
    found = {}
    for name in STAYING:
        service = image.services()[name]
        found[name] = Process(
            f"compose-{name}",
            image.command(service.command),
            env=image.environment(service.environment),
            cwd=image.folder,
        )
    return found


def of_systemd(image: InstalledImage) -> dict[str, Process]:
    """Start the units, with the environment file's example filled in."""
    by_compose = {name: value for service in ("flower", "web", "manage")
                  for name, value in image.services()[service].environment.items()}  # fmt: skip
    filled = {name: value or by_compose[name] for name, value in example().items()}
    found = {}
    for unit in units():
        if unit.settings.get("Type") == ["oneshot"]:
            continue
        output = {**unit.environment, **filled}
        name = unit.instance or unit.name.removeprefix("ordersaga-").removesuffix(".service")
        words = image.command(unit.command(output))
        found[name] = Process(f"systemd-{name}", words, env=image.environment(output), cwd=image.folder)
    return found


class Deployment:
    """All long-running processes, started by compose's commands or by the units'."""

    def __init__(self, image: InstalledImage, processes: dict[str, Process]) -> None:
        self.image, self.processes = image, processes

    def healthy(self, name: str) -> bool:
        """Return whether compose's health check of a service passes."""
        service = self.image.services()[name]
        done = subprocess.run(
            self.image.command(service.check), cwd=self.image.folder,
            capture_output=True, check=False, timeout=scaled(60),
            env={**self.image.environment(service.environment), "ORDERSAGA_RUN_DIR": run_dir()},
        )  # fmt: skip
        return done.returncode == 0

    def settle_an_order(self) -> None:
        output = run_once(
            self.image,
            "manage",
            "seed_orders",
            "--count",
            "1",
            "--wait",
            "--timeout",
            f"{scaled(60):g}",
            "--json",
        )
        assert json.loads(output)["confirmed"] == 1, output

    def assert_doctor_finds_nothing(self) -> None:
        """Check that the doctor finds nothing: roles, queues, policies and clocks are right."""
        management = self.image.here("http://@rabbitmq:15672").replace("@", "")
        output = run_once(self.image, "manage", "doctor", "--json", "--rabbitmq-admin", management)
        assert json.loads(output)["findings"] == []

    def assert_json_logs(self) -> None:
        """Check that every log line is JSON, except Celery's last lines, and that access
        lines have no query.
        """
        lines = {
            name: [json.loads(line) for line in process.logs().splitlines() if line not in LAST_LINES]
            for name, process in self.processes.items()
        }
        accesses = [line for line in lines["web"] if line["event"] == "GET /admin/flower/workers"]
        assert {line["status"] for line in accesses} == {200}
        assert all(line["logger"] == "gunicorn.access" and line["seconds"] > 0 for line in accesses)
        assert [
            line
            for line in lines["inventory"]
            if line.get("step") == "inventory.reserve_stock" and line.get("order")
        ]

    def assert_ends_on_term(self) -> None:
        for process in self.processes.values():
            process.send(signal.SIGTERM)
        assert {name: process.wait(60) for name, process in self.processes.items()} == dict.fromkeys(
            STAYING, 0
        )


@contextmanager
def running(
    image: InstalledImage, made: Callable[[InstalledImage], dict[str, Process]]
) -> Iterator[Deployment]:
    processes = made(image)
    assert set(processes) == set(STAYING)
    try:
        for process in processes.values():
            process.start()
        for name in STAYING[:4]:
            processes[name].wait_for_log(" ready.", READY)
        yield Deployment(image, processes)
    finally:
        for process in processes.values():
            process.stop(timeout=20)


def test_compose_services_settle_an_order_and_stop_on_term(migrated: InstalledImage) -> None:
    with running(migrated, composed) as deployment:
        for name in STAYING:
            eventually(partial(deployment.healthy, name), READY, f"{name} healthy")
        deployment.settle_an_order()
        deployment.assert_doctor_finds_nothing()
        _serves_the_admin(migrated)
        _shows_flower_to_staff(migrated)
        _shows_stock_to_staff(migrated)
        deployment.assert_ends_on_term()
        deployment.assert_json_logs()
        assert [name for name in ("web", "flower", "inventory") if deployment.healthy(name)] == []


def test_systemd_units_settle_an_order_and_stop_on_term(migrated: InstalledImage) -> None:
    with running(migrated, of_systemd) as deployment:
        for name in STAYING:
            eventually(partial(deployment.healthy, name), READY, f"{name} healthy")
        deployment.settle_an_order()
        deployment.assert_ends_on_term()


def _serves_the_admin(image: InstalledImage) -> None:
    """Check that static files have hashed names, are compressed and cached, and that the proxy's https is
    trusted.
    """
    site = Site(image)
    page = site.get("/admin/login/")
    assert page.status == 200
    assert page.headers["Strict-Transport-Security"]
    assert not site.get("/admin/login/", **{"X-Forwarded-Proto": "http"}).headers["Strict-Transport-Security"]
    assert site.get("/admin/login/", Host="elsewhere.example").status == 400
    [style] = set(re.findall(r'"(/static/admin/css/base\.\w+\.css)"', page.text))
    sheet = site.get(style, **{"Accept-Encoding": "gzip"})
    assert sheet.headers["Content-Encoding"] == "gzip"
    assert "immutable" in sheet.headers["Cache-Control"]


def _shows_flower_to_staff(image: InstalledImage) -> None:
    site = Site(image)
    assert site.get("/admin/flower/").status == 302
    site.log_in("ann", PASSWORD)
    flower = site.get("/admin/flower/workers")
    assert flower.status == 200
    assert "inventory@" in flower.text
    eventually(
        lambda: _queues(site) >= {"orders", "inventory", "payments", "audit"}, 60, "all queues in Flower"
    )


def _shows_stock_to_staff(image: InstalledImage) -> None:
    """Check that stock is read from inventory's database by a read-only role."""
    site = Site(image)
    site.log_in("ann", PASSWORD)
    stock = site.get("/admin/mirrors/stock/")
    assert stock.status == 200
    assert "SKU-0001" in stock.text


def _queues(site: Site) -> set[str]:
    """Return the queues on Flower's page of the broker, which may miss a busy pool."""
    site.get("/admin/flower/workers?refresh=1")
    return set(re.findall(r'<tr id="(\w+)">', site.get("/admin/flower/broker").text))


def test_nothing_is_written_to_the_read_only_image(migrated: InstalledImage) -> None:
    assert list(migrated.folder.rglob("__pycache__")) == []
    assert {path.name for path in migrated.folder.iterdir()} == {
        "manage.py", "ordersaga", "workers", "webapp", "deploy", "staticfiles",
    }  # fmt: skip
