"""Commands that print an order's timeline and settle dead letters."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.scenarios.test_operator_actions import NO_HOLD, failing_database
from tests.support.in_process import InProcessSagas, deliver_all
from webapp.audit.models import DeadLetter, SagaEvent
from webapp.orders.models import Order


@pytest.fixture
def declined(in_process: InProcessSagas) -> str:
    saga = in_process.factory.place("TEA", customer="poor")
    deliver_all(in_process.rehearsal())
    return saga


def result(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    call_command(*arguments)
    return capsys.readouterr().out


def run_failing_command(*arguments: str) -> tuple[Any, str]:
    """Return the exit status and the message of a command that must fail."""
    with pytest.raises((CommandError, SystemExit)) as stopped:
        call_command(*arguments)
    return getattr(stopped.value, "returncode", getattr(stopped.value, "code", None)), str(stopped.value)


def test_a_timeline_is_a_tree_with_causes_above_effects(
    declined: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = result(capsys, "saga", declined).splitlines()
    assert "rolled back: Payment declined: not enough money" in lines[1]
    depth = {
        name: line.index(name)
        for line in lines
        for name in ("OrderPlaced", "StockReserved", "PaymentDeclined")
        if name in line
    }
    assert depth["OrderPlaced"] < depth["StockReserved"] < depth["PaymentDeclined"]
    assert "StockReserved · reserve_stock" in "".join(lines)
    assert "undone · inventory.reserve_stock" in "".join(lines)
    assert "not enough money" in " ".join(" ".join(lines[3:]).replace("│", "").split())


def test_every_id_of_a_saga_finds_it(declined: str, capsys: pytest.CaptureFixture[str]) -> None:
    order = Order.objects.get(saga_id=declined)
    event = SagaEvent.objects.filter(saga_id=declined, task_id__isnull=False).latest("id")
    for term in (str(order.id), declined, str(event.event_id), str(event.task_id), order.idempotency_key):
        assert json.loads(result(capsys, "saga", term, "--json"))["saga"] == declined, term


def test_the_json_timeline_has_every_event_once(declined: str, capsys: pytest.CaptureFixture[str]) -> None:
    story = json.loads(result(capsys, "saga", declined, "--json"))
    ids = [event["event"] for event in story["events"]]
    assert len(ids) == len(set(ids)) == SagaEvent.objects.filter(saga_id=declined).count()
    assert (story["status"], story["refused_by"], story["waits_for"]) == ("ROLLED_BACK", "payments", [])


@pytest.mark.parametrize(
    "term", ["0", "an unknown id", "00000000-0000-0000-0000-000000000000", "\0", "9" * 30]
)
def test_an_unknown_id_exits_with_1_and_lists_what_was_tried(in_process: InProcessSagas, term: str) -> None:
    code, message = run_failing_command("saga", term)
    assert code == 1
    assert "order number, saga id" in message


def test_dead_letters_are_listed_shown_and_settled_once(
    in_process: InProcessSagas, capsys: pytest.CaptureFixture[str]
) -> None:
    saga = in_process.factory.place("TEA")
    with failing_database(in_process.probe, NO_HOLD):
        deliver_all(in_process.rehearsal())
    message = str(DeadLetter.objects.get(saga_id=saga).id)

    assert message in [
        str(json.loads(line)["id"]) for line in result(capsys, "dead_letters", "list", "--json").splitlines()
    ]
    assert "no shelf" in result(capsys, "dead_letters", "list", "--participant", "inventory")
    assert "Traceback" in result(capsys, "dead_letters", "show", message)
    assert run_failing_command("dead_letters", "replay", message, "--reason", "the shelf is there")[0] == 1
    assert "was discarded" in result(capsys, "dead_letters", "discard", message, "--reason", "known")
    assert run_failing_command("dead_letters", "discard", message, "--reason", "known")[0] == 1
    assert "was already discarded by command line: known" in capsys.readouterr().err
    assert message not in [line.split()[0] for line in result(capsys, "dead_letters", "list").splitlines()]
    assert run_failing_command("dead_letters", "show", "999999999")[0] == 1


def test_a_missing_reason_or_an_invalid_id_is_refused(in_process: InProcessSagas) -> None:
    assert "--reason" in run_failing_command("dead_letters", "discard", "1")[1]
    assert (
        "is not a whole number of 1 or more"
        in run_failing_command("dead_letters", "show", "-1")[1]
        + run_failing_command("dead_letters", "show", "x")[1]
    )
