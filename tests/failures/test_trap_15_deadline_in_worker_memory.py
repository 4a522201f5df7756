from __future__ import annotations

from datetime import timedelta

from tests.support.house import House

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
