"""Wallets under concurrency, and under random sequences of operations."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from tests.support.time_scale import scaled
from tests.workers.factories import (
    charge_of,
    charge_wallets,
    find_ledger_mismatches,
    refund_sagas,
    saga_id,
    wallet_balance,
)
from workers.payments.gateway import Charge
from workers.payments.seed import NewWallet, open_wallets
from workers.signals import Decline


def take_and_commit(payments_engine: Engine, *charges: Charge) -> dict[str, Decline]:
    with Session(payments_engine) as session, session.begin():
        return charge_wallets(session, *charges)


def test_two_sessions_contend_for_the_last_of_a_wallet(
    payments_engine: Engine, wait_for_lock_waiter: Callable[[Engine], None]
) -> None:
    with Session(payments_engine) as session, session.begin():
        open_wallets(session, [NewWallet("kim", "EUR", 100)])
    with ThreadPoolExecutor(1) as pool:
        with Session(payments_engine) as first, first.begin():
            assert charge_wallets(first, charge_of(1002, 60, "kim")) == {}
            second = pool.submit(
                take_and_commit, payments_engine, charge_of(1001, 60, "kim"), charge_of(1003, 40, "kim")
            )
            wait_for_lock_waiter(payments_engine)
        assert second.result(timeout=scaled(10)) == {saga_id(1001): Decline.NO_MONEY}
    with Session(payments_engine) as session:
        assert wallet_balance(session, "kim") == 0
        assert find_ledger_mismatches(session) == []


def test_the_balance_is_free_after_a_rollback(
    payments_engine: Engine, wait_for_lock_waiter: Callable[[Engine], None]
) -> None:
    with Session(payments_engine) as session, session.begin():
        open_wallets(session, [NewWallet("lee", "EUR", 100)])
    with ThreadPoolExecutor(1) as pool:
        with Session(payments_engine) as first:
            assert charge_wallets(first, charge_of(1004, 60, "lee")) == {}
            second = pool.submit(take_and_commit, payments_engine, charge_of(1005, 100, "lee"))
            wait_for_lock_waiter(payments_engine)
            first.rollback()
        assert second.result(timeout=scaled(10)) == {}


def test_batches_of_the_same_wallets_never_deadlock(payments_engine: Engine) -> None:
    customers = [f"shared{n}" for n in range(12)]
    with Session(payments_engine) as session, session.begin():
        open_wallets(session, [NewWallet(customer, "EUR", 3000) for customer in customers])

    def compete(worker: int) -> None:
        chance = random.Random(worker)
        for turn in range(12):
            numbers = [worker * 10_000 + turn * 100 + n for n in range(20)]
            bills = [charge_of(n, chance.randrange(100), chance.choice(customers)) for n in numbers]
            paid = {b.saga for b in bills} - take_and_commit(payments_engine, *bills).keys()
            with Session(payments_engine) as session, session.begin():
                refund_sagas(session, *(n for n in numbers if saga_id(n) in paid and chance.random() < 0.5))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(compete, range(1, 5), timeout=scaled(120)))
    with Session(payments_engine) as session:
        assert find_ledger_mismatches(session) == []


CUSTOMERS = st.sampled_from(["ada", "bob", "eve"])
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.tuples(CUSTOMERS, st.integers(0, 50))),
        st.tuples(
            st.just("charge"), st.lists(st.tuples(CUSTOMERS, st.integers(0, 30)), min_size=1, max_size=8)
        ),
        st.tuples(st.just("refund"), st.sets(st.integers(0, 30), min_size=1)),
    ),
    max_size=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES, chance=st.randoms(use_true_random=False))
def test_wallets_match_a_simple_reference_count(
    payments_engine: Engine, moves: list[Any], chance: random.Random
) -> None:
    purse: dict[str, int] = {}
    opened: set[str] = set()
    paid: dict[int, tuple[str, int]] = {}
    numbers = itertools.count()
    with Session(payments_engine) as session:
        for kind, what in moves:
            if kind == "open":
                customer, at_least = what
                open_wallets(session, [NewWallet(customer, "EUR", at_least)])
                opened.add(customer)
                purse[customer] = max(purse.get(customer, 0), at_least)
            elif kind == "charge":
                wanted = {next(numbers): one for one in what}
                declined = charge_wallets(
                    session,
                    *(
                        charge_of(n, wanted[n][1], wanted[n][0])
                        for n in chance.sample(sorted(wanted), len(what))
                    ),
                )
                for number, (customer, amount) in sorted(wanted.items()):
                    fits = amount <= purse.get(customer, 0)
                    assert (saga_id(number) not in declined) == fits
                    if fits:
                        purse[customer] = purse.get(customer, 0) - amount
                        paid[number] = (customer, amount)
            else:
                chosen = [number for n, number in enumerate(sorted(paid)) if n in what]
                refund_sagas(session, *chosen)
                for number in chosen:
                    customer, amount = paid.pop(number)
                    purse[customer] = purse.get(customer, 0) + amount
            assert find_ledger_mismatches(session) == []
        for customer in opened:
            assert wallet_balance(session, customer) == purse[customer]
        session.rollback()
