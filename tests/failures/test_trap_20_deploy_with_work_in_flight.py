from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from ordersaga import Retry, Signal
from ordersaga.envelope import Reader, encode_envelope, encode_pack, encode_row, read_packs
from ordersaga.ids import new_id
from ordersaga.testing import QueuedEnvelope, Rehearsal
from tests.support.amqp_client import envelope_body
from tests.support.in_process import InProcessSagas
from tests.support.processes import ROOT
from workers import signals

RECORDED = sorted(Path(ROOT, "workers/signal_samples").glob("*.json"))


class Parcel(Signal, version=3):
    """Version 1 had a weight in pounds, version 2 in kilograms; version 3 has grams."""

    grams: int

    @classmethod
    def upcast(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        if version == 1:
            data = {"kilograms": data["pounds"] * 0.5}
        return {"grams": int(data["kilograms"] * 1000)}


@pytest.mark.parametrize("path", RECORDED, ids=[path.stem for path in RECORDED])
def test_current_code_reads_every_recorded_signal(path: Path) -> None:
    name, version = path.stem.rsplit(".", 1)
    body = envelope_body(
        f"signal.{name}", new_id(), json.dumps(json.loads(path.read_text())), version=int(version)
    )

    good, bad = Reader(getattr(signals, name)).read(body)

    assert bad == []
    assert type(good[0].data) is getattr(signals, name)


def test_every_consumed_signal_has_a_recorded_sample() -> None:
    consumed = {
        "OrderPlaced",
        "StockReserved",
        "PaymentCharged",
        "OrderConfirmed",
        "StockShipped",
        "CancelAsked",
    }
    assert consumed <= {path.stem.rsplit(".", 1)[0] for path in RECORDED}


@pytest.mark.parametrize(
    ("version", "data"),
    [(1, {"pounds": 4}), (2, {"kilograms": 2}), (3, {"grams": 2000})],
    ids=["1", "2", "3"],
)
def test_old_versions_are_translated(version: int, data: dict[str, Any]) -> None:
    good, bad = Reader(Parcel).read(
        envelope_body("signal.Parcel", new_id(), orjson.dumps(data).decode(), version=version)
    )

    assert bad == []
    assert good[0].data == Parcel(grams=2000)


def test_a_newer_version_is_set_aside_with_a_remedy() -> None:
    good, bad = Reader(Parcel).read(envelope_body("signal.Parcel", new_id(), '{"tons": 1}', version=4))

    assert good == []
    assert "deploy this pool first" in str(bad[0].error)


def newer(in_process: InProcessSagas) -> tuple[Rehearsal, str, QueuedEnvelope]:
    """Place an order whose first signal has a version that inventory cannot read yet."""
    saga = in_process.factory.place("TEA")
    rehearsal = in_process.rehearsal()
    rehearsal.collect()
    [queued] = rehearsal.waiting("inventory", "signal.OrderPlaced")
    [(head, [row])] = read_packs(queued.envelope.body)
    rehearsal.queued.remove(queued)
    text = encode_row(row._replace(version=row.version + 1, data=orjson.dumps(row.data).decode()))
    body = encode_envelope(queued.envelope.topic, [encode_pack(head, [text])])
    return rehearsal, saga, QueuedEnvelope("inventory", queued.envelope._replace(body=body))


def test_a_newer_version_waits_without_using_an_attempt(
    in_process: InProcessSagas, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal, saga, queued = newer(in_process)
    for _ in range(3 * Retry().attempts):
        rehearsal.deliver(queued)
        rehearsal.collect("inventory")
        [queued] = rehearsal.waiting("inventory", "signal.OrderPlaced")
    assert in_process.probe.journal(saga) == {}

    monkeypatch.setattr(
        signals.OrderPlaced, "version", signals.OrderPlaced.version + 1
    )  # the new pool is deployed
    rehearsal.run()

    in_process.probe.wait_until_confirmed([saga], timeout=0)


def test_a_newer_version_that_waits_too_long_is_dead_lettered(in_process: InProcessSagas) -> None:
    rehearsal, saga, queued = newer(in_process)
    rehearsal.deliver(queued)
    rehearsal.collect("inventory")
    late = rehearsal.waiting("inventory", "signal.OrderPlaced")
    rehearsal.queued.clear()
    rehearsal.make_timers_due("deadline", saga)
    rehearsal.run()
    in_process.probe.wait_until_rolled_back([saga], timeout=0)

    for queued in late:
        rehearsal.deliver(queued)
    rehearsal.run()

    assert in_process.probe.journal(saga)["inventory.reserve_stock"] == "barred"
    assert in_process.probe.saga(saga).refusal == "OrderExpired"
