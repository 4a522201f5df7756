"""The systemd units stop gracefully, restart, match compose, and pass systemd's own check."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose import raw
from tests.deploy.units import FOLDER, HOME, PROGRAMS, Unit, instances, units
from tests.support.processes import ROOT
from tests.support.time_scale import scaled

STAYING = [unit for unit in units() if unit.settings.get("Type") != ["oneshot"]]
ANALYZE = shutil.which("systemd-analyze")
AS_COMPOSE = {"ordersaga-web.service": "web", "ordersaga-flower.service": "flower"}


def test_the_target_wants_every_unit() -> None:
    wanted = {
        name
        for line in (FOLDER / "ordersaga.target").read_text().splitlines()
        if line.startswith("Wants=")
        for name in line.removeprefix("Wants=").split()
    }
    assert wanted == {unit.name for unit in STAYING}
    assert set(instances("ordersaga-pool")) == {"orders", "inventory", "payments", "audit"}


@pytest.mark.parametrize("unit", STAYING, ids=repr)
def test_a_unit_stops_by_term_and_restarts(unit: Unit) -> None:
    assert unit.one("KillSignal") == "SIGTERM"
    assert unit.one("KillMode") == "mixed"
    assert unit.one("Restart") == "on-failure"
    assert unit.one("PartOf") == "ordersaga.target"


@pytest.mark.parametrize("unit", STAYING, ids=repr)
def test_a_unit_has_as_long_to_stop_as_in_compose(unit: Unit) -> None:
    service = raw()["services"][AS_COMPOSE.get(unit.name, unit.instance)]
    assert unit.one("TimeoutStopSec") == service["stop_grace_period"].removesuffix("s")


@pytest.mark.parametrize("unit", units(), ids=repr)
def test_a_unit_is_not_root_and_cannot_write(unit: Unit) -> None:
    assert unit.one("User") == "ordersaga"
    assert unit.one("NoNewPrivileges") == "yes"
    assert unit.one("ProtectSystem") == "strict"
    assert unit.one("CapabilityBoundingSet") == ""


@pytest.mark.parametrize("unit", units(), ids=repr)
def test_a_unit_runs_the_command_of_compose(unit: Unit) -> None:
    words = unit.command({"POOL_CONCURRENCY": "${POOL_CONCURRENCY:-2}"})
    words[0] = words[0].removeprefix(PROGRAMS)
    name = AS_COMPOSE.get(unit.name) or unit.instance or "migrate"
    expected = raw()["services"][name]["command"]
    assert words == [word.replace("--address=0.0.0.0", "--address=127.0.0.1") for word in expected]


if ANALYZE:  # not available everywhere; the tests above cover the rest

    def test_systemd_finds_no_fault_in_them(tmp_path: Path) -> None:
        bin_ = tmp_path / "venv" / "bin"
        bin_.mkdir(parents=True)
        for program in ("python", "celery", "gunicorn"):
            (bin_ / program).symlink_to("/bin/true")
        copies = [tmp_path / path.name for path in FOLDER.iterdir() if path.suffix in {".service", ".target"}]
        for copy in copies:
            copy.write_text(
                (FOLDER / copy.name)
                .read_text()
                .replace(f"file:{HOME}", f"file:{ROOT}")
                .replace(HOME, str(tmp_path))
            )
        for instance in instances("ordersaga-pool"):
            (tmp_path / f"ordersaga-pool@{instance}.service").symlink_to(tmp_path / "ordersaga-pool@.service")
        argv = [str(ANALYZE), "verify", *map(str, copies)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=scaled(60))
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
