from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.in_process import Theatre
from tests.support.installation import House

RETRIES = "SELECT count(*) FROM ordersaga_outbox WHERE kind = 'retry' AND payload LIKE '%%' || %s || '%%'"
ATTEMPTS = "SELECT attempts FROM ordersaga_journal WHERE saga_id = %s AND step = 'orders.expire_order'"
TIMERS = "SELECT kind FROM ordersaga_outbox WHERE saga_id = %s ORDER BY kind"


def test_a_deadline_is_a_row_that_is_struck_out_when_no_longer_wanted(house: House) -> None:
    with house.mail.overheard() as letters:
        house.proxies["payments"].refuse()
        saga = house.shop.place("TEA")
        assert house.books.ask("orders", TIMERS, saga) == [("deadline",), ("watchdog",)]
        house.proxies["payments"].accept()

        house.books.all_confirmed([saga])

    assert house.books.ask("orders", TIMERS, saga) == []
    headers = [letter.properties["application_headers"] for letter in letters]
    assert headers
    assert all(not {"eta", "expires", "retries", "x-delay"} & header.keys() for header in headers)


def test_a_deadline_outlives_the_worker_that_would_have_kept_it(house: House) -> None:
    house.proxies["payments"].refuse()
    saga = house.shop.place("TEA", deadline=timedelta(seconds=2))
    house.pools["orders"].kill()
    house.pools["orders"].start()

    found = house.books.reaches(saga, "ROLLING_BACK")

    assert found.refusal == "OrderExpired"
    house.proxies["payments"].accept()
    house.books.all_rolled_back([saga])


def test_a_deadline_sent_again_starts_no_second_series_of_retries(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    saga = theatre.shop.place("TEA")
    expire = next(step for step in theatre.choreography.steps if step.name == "expire_order")
    works = expire.function

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the step fails")

    rehearsal = theatre.rehearsal()
    rehearsal.collect(retries=False)
    held = [mail for mail in rehearsal.mail if mail.to != "orders"]
    monkeypatch.setattr(expire, "function", fail)
    for attempt in (1, 2, 3):
        rehearsal.mail.clear()
        rehearsal.due("deadline", saga)
        rehearsal.collect(retries=False)
        [mail] = [mail for mail in rehearsal.mail if mail.envelope.topic == "signal.DeadlinePassed"]
        rehearsal.deliver(mail)
        assert theatre.books.ask("orders", RETRIES, saga) == [(1,)]
        assert theatre.books.ask("orders", ATTEMPTS, saga) == [(attempt,)]
    monkeypatch.setattr(expire, "function", works)
    rehearsal.mail[:] = held
    rehearsal.run()
    assert theatre.books.saga(saga).refusal == "OrderExpired"
    theatre.books.all_rolled_back([saga], timeout=0)
