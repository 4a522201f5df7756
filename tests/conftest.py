"""The fixtures that any test may use. A skipped test fails the run, a failing test shows the logs, and no
process outlives the run.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Generator, Iterator
from typing import Any

import hypothesis
import pytest
from pytest_celery import CeleryBrokerCluster, CeleryTestBroker, CeleryTestContainer

from tests.support.databases import Databases, copies, drop, migrated_templates
from tests.support.janitor import janitor
from tests.support.measured import MEASURED
from tests.support.pools import PARTICIPANTS, Pool, PoolCluster, Pools
from tests.support.postgres import Postgres
from tests.support.processes import Process, running, stop_all
from tests.support.programs import POSTGRES, RABBITMQ
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import VARIABLE, scaled, time_scale

hypothesis.settings.register_profile("ordersaga", deadline=None, print_blob=True)
hypothesis.settings.load_profile("ordersaga")

SERVERS = {"--postgres": POSTGRES, "--rabbitmq": RABBITMQ}
"""Options that name a server's programs, and the environment variables that pass them to every process."""

_numbers = itertools.count(1)
_skipped: list[str] = []


# Tests ignore the caller's settings and the .env of this tree. A hook would be too late: pytest imports the
# conftest.py of folders on the command line first, and they set Django up.
for name in [name for name in os.environ if name.startswith(("ORDERSAGA_", "PROVISION_"))]:
    del os.environ[name]
os.environ |= {"ORDERSAGA_ENV": "test", "ORDERSAGA_DOTENV": ""}


# -- servers ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The run's PostgreSQL server. A test may stop or kill it; the next fixture starts it again."""
    server = Postgres()
    server.start()
    yield server
    if server.process.alive:
        server.stop()


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """The run's RabbitMQ node. A test may stop or kill it; the next fixture starts it again."""
    node = RabbitMQ()
    node.start()
    yield node
    node.close()


@pytest.fixture
def vhost(rabbitmq: RabbitMQ) -> Iterator[str]:
    """The broker URL of a new virtual host."""
    name = f"test-{next(_numbers)}"
    rabbitmq.ensure()
    yield rabbitmq.add_vhost(name)
    rabbitmq.ensure()
    rabbitmq.delete_vhost(name)


@pytest.fixture(scope="session")
def database_templates(postgres: Postgres) -> dict[str, str]:
    return migrated_templates(postgres)


@pytest.fixture
def databases(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[Databases]:
    """The three participants' databases, new, migrated and empty."""
    postgres.ensure()
    made = copies(postgres, database_templates)
    yield made
    postgres.ensure()
    drop(postgres, made)


@pytest.fixture
def environment(databases: Databases, vhost: str) -> dict[str, str]:
    """The environment of the project's processes: this test's databases and broker. Override it to add
    variables.
    """
    return {**databases.env, "ORDERSAGA_BROKER_URL": vhost}


# -- processes -------------------------------------------------------------------------------------------


@pytest.fixture
def spawn(environment: dict[str, str]) -> Iterator[Callable[..., Process]]:
    """Starts a command in this test's environment: ``spawn("web", [sys.executable, "manage.py", …],
    env={…})``.
    """
    started: list[Process] = []

    def start(name: str, argv: list[str], *, env: dict[str, str] | None = None, **options: Any) -> Process:
        process = Process(name, argv, env={**environment, **(env or {})}, **options)
        started.append(process)
        process.start()
        return process

    yield start
    for process in reversed(started):
        process.stop(timeout=10)


@pytest.fixture
def proxy() -> Iterator[Callable[[int], Proxy]]:
    """Starts a TCP proxy in front of a port: ``proxy(postgres.port)``."""
    started: list[Proxy] = []

    def start(port: int) -> Proxy:
        started.append(Proxy(port).start())
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def pools(environment: dict[str, str]) -> Iterator[Pools]:
    """Starts Celery pools on this test's databases and broker: ``pools.start("inventory", processes=2)``."""
    factory = Pools(environment)
    yield factory
    factory.teardown()


@pytest.fixture
def pool_plan() -> tuple[Pool, ...]:
    """The pools that pytest-celery's ``celery_setup`` runs; override it for others."""
    return tuple(Pool(name) for name in PARTICIPANTS)


class BrokerContainer(CeleryTestContainer):
    """Presents the run's RabbitMQ node as the container that pytest-celery expects."""

    def __init__(self, node: RabbitMQ, url: str) -> None:
        # No super().__init__: it needs a Docker client.
        self.node, self.url = node, url

    @property
    def name(self) -> str:
        return self.node.node

    @property
    def status(self) -> str:
        return "running" if self.node.process.alive else "exited"

    @property
    def celeryconfig(self) -> dict[str, str]:
        return {"url": self.url, "host_url": self.url}

    def ready(self) -> bool:
        return self.node.process.alive

    def logs(self) -> str:
        return self.node.process.logs(whole=True)

    def reload(self) -> None:
        """Do nothing: a process has no state to reload."""

    def kill(self, signal: str | int = "SIGKILL") -> None:  # noqa: ARG002 - pytest-celery's signature
        self.node.kill()

    def restart(self, timeout: float = 60) -> None:  # noqa: ARG002 - pytest-celery's signature
        self.node.restart()


@pytest.fixture
def celery_broker(rabbitmq: RabbitMQ, vhost: str) -> CeleryTestBroker:
    """pytest-celery's broker node: this test's virtual host."""
    return CeleryTestBroker(BrokerContainer(rabbitmq, vhost))


@pytest.fixture
def celery_broker_cluster(celery_broker: CeleryTestBroker) -> CeleryBrokerCluster:
    return CeleryBrokerCluster(celery_broker)


@pytest.fixture
def celery_backend_cluster() -> None:
    """No result backend: sagas keep their results in the databases."""


@pytest.fixture
def celery_worker_cluster(pools: Pools, pool_plan: tuple[Pool, ...]) -> PoolCluster:
    """pytest-celery's workers: every process of ``pool_plan``, started and ready."""
    return PoolCluster(*(worker for cluster in pools.launch(*pool_plan).values() for worker in cluster))


# -- rules -----------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the last lines of every process's log to the report of a failing test."""
    report = yield
    if report.failed:
        for process in running:
            report.sections.append((f"log of {process.name} ({process.log_path})", process.tail()))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)  # after the fixtures have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a test was skipped, and end every process."""
    if _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    stop_all()
    if janitor.cache_info().currsize:
        janitor().finish()


def pytest_configure(config: pytest.Config) -> None:
    """Pass on the servers' programs, measure the machine before xdist starts its processes, and accept
    Ctrl-C.

    A shell that starts the tests in the background makes them, and all their children, ignore Ctrl-C.
    """
    for option, variable in SERVERS.items():
        if given := config.getoption(option):
            os.environ[variable] = str(given)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not config.option.collectonly:
        time_scale()


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [] if config.option.collectonly else [f"time scale: timeouts × {time_scale():g} ({VARIABLE})"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Scale pytest-timeout's limit of each test to this machine, unless the command line sets one."""
    if config.option.collectonly or config.getoption("--timeout") is not None:
        return
    for item in items:
        marker = item.get_closest_marker("timeout")
        limit = marker.args[0] if marker else float(config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(scaled(limit)), append=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--measured", action="store_true", help="print what the sagas of each test took")
    for option, variable in SERVERS.items():
        parser.addoption(
            option, metavar="DIR", help=f"other programs, or the root of a Debian system ({variable})"
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("--measured"):
        terminalreporter.section("measured")
        for report in terminalreporter.getreports(""):
            if report.when == "teardown" and (measured := dict(report.user_properties).get(MEASURED)):
                terminalreporter.write_line(f"{report.nodeid}: {measured}")
    if _skipped:
        terminalreporter.section("skipped, therefore failed", red=True)
        terminalreporter.write_line("A skipped test proves nothing. Make it run, or delete it:")
        for nodeid in _skipped:
            terminalreporter.write_line(f"  {nodeid}")
