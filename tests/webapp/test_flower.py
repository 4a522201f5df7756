"""Flower inside the admin: staff may view all of it, and acting needs a permission and a token."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings

from tests.support.flower import Flower
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled

PAGES = (
    "",
    "workers",
    "tasks",
    "broker",
    "task/x",
    "api/workers",
    "api/tasks",
    "static/css/flower.css",
    "metrics",
    "healthcheck",
)
ACT = "/admin/flower/api/worker/shutdown/inventory@host"
DATATABLE = {"draw": "1", "start": "0", "length": "10", "order[0][column]": "0", "columns[0][data]": "name"}


@pytest.fixture(scope="module")
def running(rabbitmq: RabbitMQ) -> Iterator[Flower]:
    rabbitmq.ensure()
    flower = Flower({"ORDERSAGA_BROKER_URL": rabbitmq.add_vhost("flower")}, "--read_only=True")
    flower.start()
    yield flower
    flower.process.stop()
    rabbitmq.delete_vhost("flower")


@pytest.fixture
def flower(running: Flower, orders_database: str) -> Iterator[Flower]:
    with override_settings(FLOWER_URL=running.url):
        yield running


def client(*, staff: bool = True, may: str = "", **options: Any) -> Client:
    user = User.objects.create_user("someone", is_staff=staff)
    if may:
        user.user_permissions.add(Permission.objects.get(codename=may))
    visitor = Client(SERVER_NAME="localhost", **options)
    visitor.force_login(user)
    return visitor


def text(answer: Any) -> str:
    return b"".join(answer.streaming_content if answer.streaming else [answer.content]).decode()


@pytest.mark.parametrize("page", PAGES)
def test_an_anonymous_user_is_redirected_to_the_login(flower: Flower, page: str) -> None:
    answer = Client(SERVER_NAME="localhost").get(f"/admin/flower/{page}")
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/admin/login/?next=/admin/flower/{page}"


@pytest.mark.parametrize("page", PAGES)
def test_a_user_who_is_not_staff_is_refused(flower: Flower, page: str) -> None:
    assert client(staff=False).get(f"/admin/flower/{page}").status_code == 403


def test_staff_read_pages_files_and_the_api(flower: Flower) -> None:
    visitor = client()
    home = text(visitor.get("/admin/flower/"))
    assert 'id="workers-table"' in home
    assert '<a href="/admin/">OrderSaga admin</a>' in home
    assert 'src="/admin/flower/static/js/flower.js' in home
    assert "app-navbar" in text(visitor.get("/admin/flower/static/css/flower.css"))
    assert json.loads(text(visitor.get("/admin/flower/api/tasks?limit=5"))) == {}
    assert text(visitor.get("/admin/flower/healthcheck")) == "OK"


def test_a_response_has_its_length_and_is_not_cached_publicly(flower: Flower) -> None:
    answer = client().get("/admin/flower/tasks")
    assert int(answer.headers["Content-Length"]) == len(text(answer).encode())
    assert "private" in answer.headers["Cache-Control"]
    assert "Set-Cookie" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_a_cached_file_is_not_sent_again(flower: Flower) -> None:
    visitor = client()
    first = visitor.get("/admin/flower/static/js/flower.js")
    text(first)
    again = visitor.get("/admin/flower/static/js/flower.js", headers={"If-None-Match": first.headers["Etag"]})
    assert again.status_code == 304


def test_an_unknown_task_is_flowers_own_404(flower: Flower) -> None:
    answer = client().get("/admin/flower/task/0d7f3c52-1111-4222-8333-444455556666")
    assert answer.status_code == 404
    assert "0d7f3c52-1111-4222-8333-444455556666" in text(answer)


def test_the_task_list_needs_the_pages_token(flower: Flower) -> None:
    visitor = client(enforce_csrf_checks=True)
    assert visitor.post("/admin/flower/tasks/datatable", DATATABLE).status_code == 403
    text(visitor.get("/admin/flower/tasks"))
    token = visitor.cookies["_xsrf"].value
    answer = visitor.post("/admin/flower/tasks/datatable", DATATABLE, headers={"X-XSRFToken": token})
    assert answer.status_code == 200
    assert json.loads(text(answer))["recordsTotal"] == 0
    wrong = token[::-1]
    assert (
        visitor.post("/admin/flower/tasks/datatable", DATATABLE, headers={"X-XSRFToken": wrong}).status_code
        == 403
    )


def test_acting_needs_permission_token_and_a_writable_flower(flower: Flower) -> None:
    assert client().post(ACT).status_code == 403
    User.objects.all().delete()
    allowed = client(may="control_pool", enforce_csrf_checks=True)
    assert allowed.post(ACT).status_code == 403
    assert not LogEntry.objects.exists()
    text(allowed.get("/admin/flower/workers"))
    answer = allowed.post(ACT, headers={"X-XSRFToken": allowed.cookies["_xsrf"].value})
    assert (answer.status_code, text(answer)) == (403, "Read only mode is enabled")
    assert LogEntry.objects.get().object_repr == "api/worker/shutdown/inventory@host"


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options"])
def test_other_methods_do_not_reach_flower(flower: Flower, method: str) -> None:
    assert getattr(client(), method)("/admin/flower/api/workers").status_code == 405


def test_the_admins_index_links_to_flower(flower: Flower) -> None:
    visitor = client()
    assert "/admin/pools/pool/" in text(visitor.get("/admin/"))
    assert visitor.get("/admin/pools/pool/").headers["Location"] == "/admin/flower/"


def test_flower_requires_the_web_processs_password(flower: Flower) -> None:
    with override_settings(FLOWER_URL=f"http://127.0.0.1:{flower.port}"):
        answer = client().get("/admin/flower/workers")
    assert answer.status_code == 502
    assert "requires a name and password" in text(answer)
    assert flower.password.partition(":")[2] not in text(answer)


def test_without_flower_the_page_says_how_to_start_it(orders_database: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://me:unspoken@127.0.0.1:{probe.getsockname()[1]}"
    with override_settings(FLOWER_URL=url):
        answer = client().get("/admin/flower/task/x")
    assert answer.status_code == 502
    assert "ConnectionRefusedError" in text(answer)
    assert "--url_prefix=admin/flower --read_only=True" in text(answer)
    assert "unspoken" not in text(answer)


def test_no_cookie_and_no_user_name_reaches_flower(orders_database: str) -> None:
    """A listener in Flower's place records the requests it receives."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(scaled(10))
        visitor = client()
        heard: list[bytes] = []

        def listen() -> None:
            connection, _ = listener.accept()
            heard.append(connection.recv(65536))
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nSet-Cookie: mine=1\r\nContent-Length: 2\r\nConnection: x\r\n\r\nok"
            )
            connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        port = listener.getsockname()[1]
        with override_settings(FLOWER_URL=f"http://127.0.0.1:{port}"):
            answer = visitor.get(
                "/admin/flower/workers?json=1", headers={"X-Forwarded-For": "10.1.1.1", "Accept": "text/x"}
            )
            assert text(answer) == "ok"
        thread.join(scaled(10))
    sent = heard[0].decode().lower()
    assert sent.startswith("get /admin/flower/workers?json=1 http/1.1")
    assert f"host: 127.0.0.1:{port}" in sent
    assert "accept: text/x" in sent
    assert all(word not in sent for word in ("cookie", "10.1.1.1", "sessionid", "localhost"))
    assert "mine" not in str(answer.headers) + str(answer.cookies)
