from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from ordersaga import Signal
from ordersaga.envelope import Reader
from ordersaga.ids import new_id
from tests.support.mail import letter
from tests.support.processes import ROOT
from workers import signals

RECORDED = sorted(Path(ROOT, "workers/recorded").glob("*.json"))


class Parcel(Signal, version=3):
    """Version 1 had a weight in pounds, version 2 in kilograms; since 3 it is in grams."""

    grams: int

    @classmethod
    def upcast(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:
        if version == 1:
            data = {"kilograms": data["pounds"] * 0.5}
        return {"grams": int(data["kilograms"] * 1000)}


@pytest.mark.parametrize("path", RECORDED, ids=[path.stem for path in RECORDED])
def test_every_signal_ever_recorded_is_read_by_todays_code(path: Path) -> None:
    name, version = path.stem.rsplit(".", 1)
    body = letter(f"signal.{name}", new_id(), json.dumps(json.loads(path.read_text())), version=int(version))

    good, bad = Reader(getattr(signals, name)).read(body)

    assert bad == []
    assert type(good[0].data) is getattr(signals, name)


def test_something_is_recorded_of_every_signal_that_a_step_hears() -> None:
    heard = {"OrderPlaced", "StockReserved", "PaymentCharged", "OrderConfirmed", "StockShipped", "CancelAsked"}
    assert heard <= {path.stem.rsplit(".", 1)[0] for path in RECORDED}


@pytest.mark.parametrize(
    ("version", "data"), [(1, {"pounds": 4}), (2, {"kilograms": 2}), (3, {"grams": 2000})], ids=["1", "2", "3"]
)
def test_old_versions_are_translated(version: int, data: dict[str, Any]) -> None:
    good, bad = Reader(Parcel).read(letter("signal.Parcel", new_id(), orjson.dumps(data).decode(), version=version))

    assert bad == []
    assert good[0].data == Parcel(grams=2000)


def test_a_version_from_the_future_is_set_apart_and_the_remedy_named() -> None:
    good, bad = Reader(Parcel).read(letter("signal.Parcel", new_id(), '{"tons": 1}', version=4))

    assert good == []
    assert "deploy this pool first" in str(bad[0].error)
