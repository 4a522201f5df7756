"""``manage.py demo``: embedded servers, real processes, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.cookiejar import CookieJar
from pathlib import Path

import psutil
import pytest

from tests.documents.expected_output import missing_lines
from tests.documents.markdown import page
from tests.support.janitor import janitor
from tests.support.polling import eventually
from tests.support.processes import ROOT, Process
from tests.support.time_scale import scaled

MARK = "DEMO_TEST"
ORDERS = 60


class Demos:
    """Runs demos in one folder; ``left`` lists their processes that still run."""

    def __init__(self) -> None:
        self.folder: Path = janitor().folder("demo") / "run"
        self._mark = uuid.uuid4().hex
        self._started: list[Process] = []

    def argv(self, *options: str) -> list[str]:
        return [
            sys.executable,
            "manage.py",
            "demo",
            "--folder",
            str(self.folder),
            "--orders",
            str(ORDERS),
            *options,
        ]

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a demo to its end; return its two outputs."""
        env = {**os.environ, MARK: self._mark, "COLUMNS": "120"}
        return subprocess.run(
            self.argv(*options),
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=scaled(180),
        )

    def start(self, *options: str) -> Process:
        argv = self.argv(*options)
        name = f"demo-{self._mark[:6]}-{len(self._started)}"
        self._started.append(Process(name, argv, env={MARK: self._mark, "COLUMNS": "120"}).start())
        return self._started[-1]

    def left(self, what: str = "") -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return [command for command in found if what in command]

    def close(self) -> None:
        for process in self._started:
            process.stop(timeout=30)


@pytest.fixture
def demos() -> Iterator[Demos]:
    demos = Demos()
    yield demos
    demos.close()


@pytest.fixture
def busy() -> Iterator[None]:
    """Occupies the ports that a demo prefers."""
    with ExitStack() as stack:
        for port in (8000, 5555):
            taker = stack.enter_context(socket.socket())
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taker.bind(("127.0.0.1", port))
                taker.listen()
            except OSError:
                continue  # occupied already, which serves as well
        yield


def result(process: Process, pattern: str) -> str:
    found = re.search(pattern, process.logs())
    assert found, process.logs()
    return found[1]


def visitor(login_page: str, password: str) -> Callable[[str], str]:
    """Return a browser session that has logged in."""
    jar = CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    browser.open(login_page, timeout=scaled(10)).read()
    token = next(cookie.value for cookie in jar if cookie.name == "csrftoken")
    form = {"username": "admin", "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"}
    browser.open(login_page, urllib.parse.urlencode(form).encode(), timeout=scaled(10)).read()
    return lambda page: str(browser.open(page, timeout=scaled(10)).read().decode())


@pytest.mark.usefixtures("busy")
def test_the_demo_settles_all_orders_and_runs_until_ctrl_c(demos: Demos) -> None:
    demo = demos.start()
    demo.wait_for_log("Ctrl-C stops everything", timeout=120)
    assert f"{ORDERS} settled in" in demo.logs()
    assert "no violation" in demo.logs()

    admin = result(demo, r"(http://127\.0\.0\.1:\d+/admin/)orders/order/")
    flower = result(demo, r"Flower, the pools +(http://127\.0\.0\.1:\d+/admin/flower/)")
    assert ":8000/" not in admin
    assert flower == f"{admin}flower/"
    visit = visitor(f"{admin}login/", result(demo, r"login +admin, password (\S+)"))
    listed = set(re.findall(r"/orders/order/(\d+)/change/", visit(f"{admin}orders/order/")))
    assert len(listed) == 50  # one page
    assert "StockReserved" in visit(f"{admin}audit/sagaevent/?q=1")
    assert all(
        f"{pool}@demo" in visit(f"{flower}workers") for pool in ("orders", "inventory", "payments", "audit")
    )

    twin = demos.start()
    assert twin.wait(30) == 1
    assert f"already running, as process {demo.pid}. Its pages: {admin}" in twin.logs()

    demo.send(signal.SIGINT)
    assert demo.wait(30) == 0
    assert demos.left() == []


def test_a_killed_demo_leaves_nothing_and_can_run_again(demos: Demos) -> None:
    demo = demos.start("--exit")
    eventually(lambda: len(demos.left("celery -A workers.")) >= 4, 90, "four pools")
    demo.send(signal.SIGKILL)
    again = demos.start("--exit")  # at once: it waits until the first demo's folder is removed
    assert again.wait(120) == 0, again.logs()
    [readme] = [block for block in page("README.md").blocks_of("console") if "make demo" in block.text]
    assert missing_lines(readme, again.logs().splitlines(), figures=False) == []
    assert demos.left() == []


def test_an_unreachable_server_is_named_with_a_remedy(demos: Demos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERSAGA_PAYMENTS_DATABASE_URL", "postgresql://me@127.0.0.1:1/away")
    demo = demos.start("--exit")
    assert demo.wait(30) == 1
    assert "The payments database does not answer" in demo.logs()
    assert "correct ORDERSAGA_PAYMENTS_DATABASE_URL, or unset it to use an embedded one" in demo.logs()
    assert "Traceback" not in demo.logs()
    assert demos.left() == []


def test_json_output_is_one_object_and_the_rest_goes_to_stderr(demos: Demos) -> None:
    demo = demos.run("--json")
    assert demo.returncode == 0, demo.stderr
    result = json.loads(demo.stdout)
    assert (result["clean"], result["fault"]) == (True, None)
    assert (
        result["orders"]["placed"]
        == result["orders"]["settled"]
        == result["books"]["looked_at"]["orders"]
        == ORDERS
    )
    assert result["books"]["clean"] is True
    steps = [step["step"] for step in result["steps"]]
    assert (steps[0], steps[-1]) == ("servers", "stopped")
    assert sum(step["seconds"] for step in result["steps"]) < result["seconds"]
    assert "Every order has settled and the databases agree" in demo.stderr
    assert demos.left() == []


def test_json_output_contains_a_fault(demos: Demos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERSAGA_PAYMENTS_DATABASE_URL", "postgresql://me@127.0.0.1:1/away")
    demo = demos.run("--json")
    result = json.loads(demo.stdout)
    assert (demo.returncode, result["clean"], result["orders"], result["books"]) == (1, False, None, None)
    assert result["fault"].startswith("The payments database does not answer")
    assert result["fault"] in re.sub(r"\s+", " ", demo.stderr)
    assert demos.left() == []
