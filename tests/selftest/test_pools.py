"""Tests of the pools' helpers, on a small Celery application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from pytest_celery import CeleryTestSetup

from tests.support.chaos import ProcessKiller
from tests.support.polling import eventually
from tests.support.pools import Pool, Pools
from tests.support.rabbitmq import RabbitMQ

APP = """
import os, time
from celery import Celery

app = Celery("tiny", broker=os.environ["ORDERSAGA_BROKER_URL"])
app.conf.update(task_default_queue="tiny", task_default_queue_type="quorum",
                task_default_exchange_type="topic", task_acks_late=True, task_reject_on_worker_lost=True,
                worker_prefetch_multiplier=1, task_ignore_result=True)

@app.task(name="tiny.write")
def write(path, seconds=0):
    with open(path + ".begun", "a"):
        pass
    time.sleep(seconds)
    with open(path, "a") as out:
        out.write("done\\n")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(APP)
    return tmp_path


@pytest.fixture
def environment(vhost: str) -> dict[str, str]:
    return {"ORDERSAGA_BROKER_URL": vhost}


@pytest.fixture
def pools(environment: dict[str, str], folder: Path) -> Iterator[Pools]:
    factory = Pools(environment, cwd=folder)
    yield factory
    factory.teardown()


@pytest.fixture
def pool_plan() -> tuple[Pool, ...]:
    return (Pool("tiny", app="tiny", processes=2, kind="solo"),)


@pytest.fixture
def client(vhost: str) -> Iterator[Celery]:
    app = Celery("client", broker=vhost, set_as_current=False)
    app.conf.update(
        task_default_queue="tiny", task_default_queue_type="quorum", task_default_exchange_type="topic"
    )
    yield app
    app.close()


def test_two_processes_answer_stop_warmly_and_start_again(pools: Pools, client: Celery) -> None:
    tiny = pools.start("tiny", app="tiny", processes=2, kind="threads", concurrency=2)
    assert pools.ping(client) == ["tiny-1@test", "tiny-2@test"]
    assert tiny[0].terminate() == 0
    assert pools.ping(client) == ["tiny-2@test"]
    tiny[0].restart()
    assert pools.ping(client) == ["tiny-1@test", "tiny-2@test"]


def test_work_of_a_killed_process_is_done_by_the_next(pools: Pools, client: Celery, tmp_path: Path) -> None:
    tiny = pools.start("tiny", app="tiny", concurrency=2)
    client.send_task("tiny.write", [str(tmp_path / "out"), 2])
    eventually((tmp_path / "out.begun").exists, 10, "the task's begin")
    tiny.kill()
    assert tiny[0].container.status == "exited"
    assert not (tmp_path / "out").exists()
    tiny.start()
    eventually((tmp_path / "out").exists, 20, "the task's end")


def test_the_next_kill_waits_until_all_are_ready(pools: Pools) -> None:
    tiny = pools.start("tiny", app="tiny", processes=2, kind="solo")
    killer = ProcessKiller(pools, every=0.1)

    def killed() -> bool:
        enough = killer.has_killed(3)
        assert any(worker.container.is_ready for worker in tiny), (
            "both were killed before the first was ready again"
        )
        return enough

    eventually(killed, 60, "three kills", ignoring=())


def test_a_pool_that_cannot_start_says_why(pools: Pools) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)nowhere-1 ended with .*nowhere"):
        pools.start("nowhere", app="nowhere")


def test_pytest_celerys_own_setup_runs_on_local_processes(
    celery_setup: CeleryTestSetup, rabbitmq: RabbitMQ, vhost: str
) -> None:
    assert celery_setup.ready()
    assert [worker.hostname() for worker in celery_setup.worker_cluster] == ["tiny-1@test", "tiny-2@test"]
    assert "tiny" in rabbitmq.queues(vhost.rpartition("/")[2])
