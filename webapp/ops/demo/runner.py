"""What happens in a demo, in its order."""

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

from webapp.ops.demo import paths, prepare, reaper
from webapp.ops.demo.output import DemoFailed, Outcome, Telling, said_in
from webapp.ops.demo.paths import Places, private, shown
from webapp.ops.demo.processes import HOST, PAUSE, Child, Page, Pool, await_ready, run, watch
from webapp.ops.demo.servers import BROKER, DATABASES, Servers, as_shell, environment, trail_rests
from workers.settings import settings

MIX = {"--decline": "10%", "--out-of-stock": "5%", "--cancel": "5%", "--free": "2%"}
GRACE = 10
"""Seconds that the auditor grants to what is still on its way."""
LINGER = "0.25"
"""On the embedded broker an envelope costs more than on RabbitMQ, so fuller ones are waited for a little
longer.
"""
WEB, FLOWER = 8000, 5555
"""The ports that are wanted."""
READY, SETTLED = 180.0, 300
"""Seconds granted to the pools and pages to be ready, and to the orders to settle; a loaded machine needs
some.
"""
FAILED, INTERRUPTED = 1, 130


class Interrupted(BaseException):
    """Ctrl-C, TERM or the terminal's end."""


class Demo:
    """The demo; :meth:`play` does it all and puts all away, whatever happens."""

    def __init__(
        self,
        places: Places,
        *,
        orders: int,
        seed: int,
        stay: bool,
        as_json: bool = False,
        since: float | None = None,
    ) -> None:
        """:param as_json: nothing is said on standard output; :meth:`as_json` is for there.
        :param since: when the user asked for it, as ``time.time()``.
        """
        self._orders, self._seed, self._stay = orders, seed, stay
        self._places, self._machine = places, as_json
        self._telling = Telling(since or time.time(), aside=as_json)
        self._servers = Servers.of(os.environ)
        self._children: list[Child] = []
        self._outcome = Outcome()

    def play(self) -> int:
        """The exit status: 0 when every order has settled and the books agree."""
        try:
            _not_in_production()
            self._places.make()
            with _interruptible(), paths.held(self._places) as mine, self._guarded(mine):
                return self._acts(mine)
        except DemoFailed as failed:
            return self._failed(failed)
        except Interrupted:
            if self._outcome.clean is not None:
                return self._status
            self._outcome.fault = "interrupted"
            return INTERRUPTED

    def as_json(self) -> str:
        """How it went."""
        return self._outcome.as_json(self._telling.steps, self._telling.age(), self._places.logs)

    @property
    def _status(self) -> int:
        return 0 if self._outcome.clean else FAILED

    def _failed(self, failed: DemoFailed) -> int:
        self._outcome.fault = str(failed)
        self._telling.failure(failed)
        return FAILED

    def _acts(self, mine: paths.Lock) -> int:
        try:
            self._start(mine)
            self._trade()
            self._show()
            while self._stay:
                watch(self._children)
                time.sleep(PAUSE)
        except DemoFailed as failed:
            return self._failed(failed)
        return self._status

    # -------------------------------------------------------------------------------------------------------
    # starting

    def _start(self, mine: paths.Lock) -> None:
        say, secrets = self._telling, self._places.secrets()
        say.title("OrderSaga", "an order saga on four Celery pools and three databases; nobody conducts")
        say.line()
        with say.step("servers", self._servers.described(self._places)):
            env = environment(self._servers.start(self._places), secrets["secret_key"])
        if BROKER not in self._servers.given:
            env.setdefault("ORDERSAGA_LINGER", LINGER)
        env.setdefault("ORDERSAGA_RUN_DIR", str(self._places.pools))
        self._env, self._password = env, secrets["password"]
        private(self._places.env, as_shell(env))
        with say.step("schemas, catalogue, login", "manage.py migrate, manage.py seed_catalog"):
            self._prepare()
        self._pools = [
            Pool(module, env, self._places) for module in (*settings().participants, *settings().observers)
        ]
        flower = Page(
            "flower", _flower, FLOWER, {**env, "FLOWER_BASIC_AUTH": _flower_login(secrets)}, self._places
        )
        with say.step(f"{len(self._pools)} pools, the admin, Flower", "celery -A workers.… worker"):
            self._children = [*self._pools, flower]
            for child in self._children:
                child.start()
            await_ready([flower], READY)
            # the web process is told where Flower is, which is sure only now
            env["ORDERSAGA_FLOWER_URL"] = f"http://{_flower_login(secrets)}@{HOST}:{flower.port}"
            private(self._places.env, as_shell(env))
            self._web = Page("web", _web, WEB, env, self._places)
            self._children.append(self._web.start())
            await_ready(self._children, READY)
        mine.tell(page=f"{self._web.url}/admin/")

    def _prepare(self) -> None:
        ours = [] if DATABASES["orders"] in self._servers.given else [prepare.OURS]
        env = {**self._env, prepare.PASSWORD: self._password}
        child = Child("prepare", ["-m", "webapp.ops.demo.prepare", *ours], env, self._places)
        code = run(child, [])
        self._login = f"{prepare.USER}, password {self._password}"
        if code == prepare.FOREIGN_LOGIN:
            self._login = f"your own: {prepare.USER} is there already, and its password was left alone"
        elif code:
            raise child.failed()

    # --------------------------------------------------------------------------------------------------------
    # trading

    def _trade(self) -> None:
        """Orders until they have settled, then the books."""
        parts = ("10 % declined", "5 % out of stock", "5 % cancelled", "2 % free of charge")
        self._telling.title(f"{self._orders:,} orders", ", ".join(parts))
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
        settled, self._outcome.orders = self._manage("seed_orders", *wanted)
        self._telling.line()
        with self._telling.step("the audit trail is complete", "the audit pool has heard all that was said"):
            trail_rests(self._env[DATABASES["orders"]], lambda: watch(self._children))
        self._telling.title("The books", "an auditor that trusts nobody compares the three databases")
        balanced, self._outcome.books = self._manage("reconcile", "--grace", str(GRACE))
        self._outcome.clean = settled == balanced == 0

    def _manage(self, *words: str) -> tuple[int, dict[str, Any] | None]:
        """The exit status of a command, and for machines what it has said."""
        self._telling.line(f"$ manage.py {' '.join(words)}\n", "dim")
        if not self._machine:
            return run(
                Child(words[0], ["manage.py", *words], self._env, self._places, log=False), self._children
            ), None
        file = self._places.result(words[0])
        child = Child(
            words[0], ["manage.py", *words, "--json"], self._env, self._places, log=False, result=file
        )
        return run(child, self._children), said_in(file)

    # --------------------------------------------------------------------------------------------------------
    # showing

    def _show(self) -> None:
        say, admin = self._telling, f"{self._web.url}/admin"
        say.title("Look around" if self._stay else "The pages were")
        say.pages(
            {
                "orders": f"{admin}/orders/order/",
                "sagas": f"{admin}/orders/saga/",
                "audit trail": f"{admin}/audit/sagaevent/",
                "dead letters": f"{admin}/audit/deadletter/",
                "Flower, the pools": f"{admin}/flower/",
                "login": self._login,
                "logs": shown(self._places.logs),
            }
        )
        if self._outcome.clean:
            say.line(
                f"\n  Every order has settled and the books agree, {say.age():.0f} s after the start.",
                "green",
            )
        else:
            say.line("\n  Not every order has settled, or the books disagree: see above.", "bold red")
        if self._stay:
            command = f"(set -a; . {shown(self._places.env)}; {_python()} manage.py seed_orders --count 300 --rate 5)"
            say.line("Ctrl-C ends it all. More orders, from another terminal here:")
            say.line(f"  {command}", "dim")

    # ---------------------------------------------------------------------------------------------------------
    # ending

    @contextmanager
    def _guarded(self, mine: paths.Lock) -> Iterator[None]:
        """Begin by ending what an earlier demo left, and end whatever this one has started."""
        reaper.put_away(self._places)
        guard = reaper.post(self._places, mine.fileno())
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # what is begun is finished
            self._telling.line()
            with self._telling.step("put away", "processes ended, data kept"):
                if guard.stdin:
                    guard.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    guard.wait(60)
                self._places.env.unlink(missing_ok=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C, TERM and the terminal's end be the same."""

    def interrupt(*_: Any) -> None:
        raise Interrupted

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    yield


def _not_in_production() -> None:
    if settings().env == "production":
        raise DemoFailed(
            "The demo is not for production: it makes a login and places orders.", "Unset ORDERSAGA_ENV."
        )


def _python() -> str:
    """The interpreter as one would type it here."""
    return shown(Path(sys.executable))


def _web(port: int) -> list[str]:
    # --insecure lets it serve the admin's style sheets though DEBUG is off
    return ["manage.py", "runserver", "--noreload", "--insecure", "--skip-checks", f"{HOST}:{port}"]


def _flower(port: int) -> list[str]:
    app = settings().participants[0]
    where = [f"--address={HOST}", f"--port={port}", "--url_prefix=admin/flower"]
    return ["-m", "celery", "-A", app, "flower", *where, "--read_only=True"]


def _flower_login(secrets: Mapping[str, str]) -> str:
    """What the web process alone knows; people reach Flower through the admin."""
    return f"web:{secrets['flower']}"
