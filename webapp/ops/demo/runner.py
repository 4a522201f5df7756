"""Run the demo: start servers and processes, place orders, reconcile, show the pages, stop everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from webapp.ops.cli import INTERRUPTED
from webapp.ops.demo import paths, prepare, reaper
from webapp.ops.demo.output import DemoFailed, Output, Result, read_result
from webapp.ops.demo.paths import Paths, display_path, write_private
from webapp.ops.demo.processes import (
    HOST,
    PAUSE,
    Child,
    Page,
    Pool,
    require_running,
    run_child,
    wait_until_ready,
)
from webapp.ops.demo.servers import BROKER, DATABASES, Servers, as_shell, environment, wait_for_audit
from workers.settings import settings

MIX = {"--decline": "10%", "--out-of-stock": "5%", "--cancel": "5%", "--free": "2%"}
GRACE_SECONDS = 10
"""The --grace of reconcile, in seconds."""
LINGER = "0.25"
"""With the embedded broker an envelope is more expensive than with RabbitMQ, so relays wait for fuller ones.
"""
WEB, FLOWER = 8000, 5555
"""The preferred ports."""
READY, SETTLED = 180.0, 300
"""Seconds until pools and pages must be ready, and until orders must have settled, on a loaded machine."""
FAILED = 1


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM, or the terminal was closed."""


class Demo:
    """The demo; :meth:`run` always stops what it has started."""

    def __init__(
        self,
        paths: Paths,
        *,
        orders: int,
        seed: int,
        stay: bool,
        as_json: bool = False,
        since: float | None = None,
    ) -> None:
        """:param as_json: keep standard output free for :meth:`as_json`.
        :param since: when the user started it, as ``time.time()``.
        """
        self._orders, self._seed, self._stay = orders, seed, stay
        self._paths, self._as_json = paths, as_json
        self._output = Output(since or time.time(), aside=as_json)
        self._servers = Servers.from_environment(os.environ)
        self._children: list[Child] = []
        self._result = Result()

    def run(self) -> int:
        """Run everything; return 0 when every order has settled and the databases agree."""
        try:
            _refuse_production()
            self._paths.make()
            with _catch_signals(), paths.hold_lock(self._paths) as held, self._with_reaper(held):
                return self._run_phases(held)
        except DemoFailed as failed:
            return self._failed(failed)
        except Interrupted:
            if self._result.clean is not None:
                return self._status
            self._result.fault = "interrupted"
            return INTERRUPTED

    def as_json(self) -> str:
        """Return the result as JSON."""
        return self._result.as_json(self._output.steps, self._output.age(), self._paths.logs)

    @property
    def _status(self) -> int:
        return 0 if self._result.clean else FAILED

    def _failed(self, failed: DemoFailed) -> int:
        self._result.fault = str(failed)
        self._output.failure(failed)
        return FAILED

    def _run_phases(self, held: paths.Lock) -> int:
        try:
            self._start(held)
            self._run_orders()
            self._show_pages()
            while self._stay:
                require_running(self._children)
                time.sleep(PAUSE)
        except DemoFailed as failed:
            return self._failed(failed)
        return self._status

    # -- starting ----------------------------------------------------------------------------------------

    def _start(self, held: paths.Lock) -> None:
        say, secrets = self._output, self._paths.secrets()
        say.title(
            "OrderSaga", "an order saga on four Celery pools and three databases, without a coordinator"
        )
        say.line()
        with say.step("servers", self._servers.describe(self._paths)):
            env = environment(self._servers.start(self._paths), secrets["secret_key"])
        if BROKER not in self._servers.given:
            env.setdefault("ORDERSAGA_LINGER", LINGER)
        env.setdefault("ORDERSAGA_RUN_DIR", str(self._paths.pools))
        self._env, self._password = env, secrets["password"]
        write_private(self._paths.env, as_shell(env))
        with say.step("schemas, catalogue, login", "manage.py migrate, manage.py seed_catalog"):
            self._prepare()
        self._pools = [
            Pool(module, env, self._paths) for module in (*settings().participants, *settings().observers)
        ]
        flower = Page(
            "flower", _flower, FLOWER, {**env, "FLOWER_BASIC_AUTH": _flower_login(secrets)}, self._paths
        )
        with say.step(f"{len(self._pools)} pools, the admin, Flower", "celery -A workers.… worker"):
            self._children = [*self._pools, flower]
            for child in self._children:
                child.start()
            wait_until_ready([flower], READY)
            # Flower's port, which the web process needs, is final only now
            env["ORDERSAGA_FLOWER_URL"] = f"http://{_flower_login(secrets)}@{HOST}:{flower.port}"
            write_private(self._paths.env, as_shell(env))
            self._web = Page("web", _web, WEB, env, self._paths)
            self._children.append(self._web.start())
            wait_until_ready(self._children, READY)
        held.tell(page=f"{self._web.url}/admin/")

    def _prepare(self) -> None:
        ours = [] if DATABASES["orders"] in self._servers.given else [prepare.OURS]
        env = {**self._env, prepare.PASSWORD: self._password}
        child = Child("prepare", ["-m", "webapp.ops.demo.prepare", *ours], env, self._paths)
        code = run_child(child, [])
        self._login = f"{prepare.USER}, password {self._password}"
        if code == prepare.FOREIGN_LOGIN:
            self._login = f"the existing user {prepare.USER}, with its password unchanged"
        elif code:
            raise child.failed()

    # -- orders ------------------------------------------------------------------------------------------

    def _run_orders(self) -> None:
        """Place orders, wait until they have settled, and reconcile the databases."""
        parts = ("10 % declined", "5 % out of stock", "5 % cancelled", "2 % free of charge")
        self._output.title(f"{self._orders:,} orders", ", ".join(parts))
        mix = [word for pair in MIX.items() for word in pair]
        wanted = [
            "--count",
            str(self._orders),
            *mix,
            "--seed",
            str(self._seed),
            "--wait",
            "--timeout",
            str(SETTLED),
        ]
        settled, self._result.orders = self._run_command("seed_orders", *wanted)
        self._output.line()
        with self._output.step("the audit trail is complete", "the audit pool has received all events"):
            wait_for_audit(self._env[DATABASES["orders"]], lambda: require_running(self._children))
        self._output.title("Reconciliation", "the three databases are compared, order by order")
        balanced, self._result.books = self._run_command("reconcile", "--grace", str(GRACE_SECONDS))
        self._result.clean = settled == balanced == 0

    def _run_command(self, *words: str) -> tuple[int, dict[str, Any] | None]:
        """Run a command; return its exit status, and its JSON output if that is wanted."""
        self._output.line(f"$ manage.py {' '.join(words)}\n", "dim")
        if not self._as_json:
            return run_child(
                Child(words[0], ["manage.py", *words], self._env, self._paths, log=False), self._children
            ), None
        file = self._paths.result(words[0])
        child = Child(
            words[0], ["manage.py", *words, "--json"], self._env, self._paths, log=False, result=file
        )
        return run_child(child, self._children), read_result(file)

    # -- pages -------------------------------------------------------------------------------------------

    def _show_pages(self) -> None:
        say, admin = self._output, f"{self._web.url}/admin"
        say.title("Look around" if self._stay else "The pages were")
        say.pages(
            {
                "orders": f"{admin}/orders/order/",
                "sagas": f"{admin}/orders/saga/",
                "audit trail": f"{admin}/audit/sagaevent/",
                "dead letters": f"{admin}/audit/deadletter/",
                "Flower, the pools": f"{admin}/flower/",
                "login": self._login,
                "logs": display_path(self._paths.logs),
            }
        )
        if self._result.clean:
            say.line(
                f"\n  Every order has settled and the databases agree, {say.age():.0f} s after the start.",
                "green",
            )
        else:
            say.line("\n  Some orders have not settled, or the databases disagree: see above.", "bold red")
        if self._stay:
            command = (
                f"(set -a; . {display_path(self._paths.env)}; {_python()} manage.py seed_orders "
                f"--count 300 --rate 5)"
            )
            say.line("Ctrl-C stops everything. To place more orders from another terminal:")
            say.line(f"  {command}", "dim")

    # -- end ---------------------------------------------------------------------------------------------

    @contextmanager
    def _with_reaper(self, held: paths.Lock) -> Iterator[None]:
        """End what an earlier demo left running, and at the end everything that this demo has started."""
        reaper.end_recorded(self._paths)
        guard = reaper.start_reaper(self._paths, held.fileno())
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # the clean-up must not be interrupted
            self._output.line()
            with self._output.step("stopped", "processes ended, data kept"):
                if guard.stdin:
                    guard.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    guard.wait(60)
                self._paths.env.unlink(missing_ok=True)


@contextmanager
def _catch_signals() -> Iterator[None]:
    """Raise :class:`Interrupted` on SIGINT, SIGTERM and SIGHUP."""

    def interrupt(*_: Any) -> None:
        raise Interrupted

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    yield


def _refuse_production() -> None:
    if settings().env == "production":
        raise DemoFailed(
            "The demo is not for production: it makes a login and paths orders.", "Unset ORDERSAGA_ENV."
        )


def _python() -> str:
    """Return the path of the interpreter, relative to the current directory if possible."""
    return display_path(Path(sys.executable))


def _web(port: int) -> list[str]:
    # --insecure serves the admin's style sheets although DEBUG is off
    return ["manage.py", "runserver", "--noreload", "--insecure", "--skip-checks", f"{HOST}:{port}"]


def _flower(port: int) -> list[str]:
    app = settings().participants[0]
    where = [f"--address={HOST}", f"--port={port}", "--url_prefix=admin/flower"]
    return ["-m", "celery", "-A", app, "flower", *where, "--read_only=True"]


def _flower_login(secrets: Mapping[str, str]) -> str:
    """Flower's login, known only to the web process; people reach Flower through the admin."""
    return f"web:{secrets['flower']}"
