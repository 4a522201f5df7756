"""Money is charged exactly, refunded once, and by the batch."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ordersaga import Batch
from tests.workers.factories import (
    charge_of,
    charge_wallets,
    find_ledger_mismatches,
    ledger_entries,
    refund_sagas,
    saga_id,
    wallet_balance,
)
from workers.payments import ledger
from workers.payments.ledger import Transfer
from workers.payments.models import Kind
from workers.payments.seed import NewWallet, open_wallets
from workers.payments.steps import charge, refund
from workers.signals import Decline, PaymentCharged, PaymentDeclined, PaymentRefunded, StockReserved

# -- charging --------------------------------------------------------------------------------------------


def test_a_charge_moves_money_from_the_wallet_to_the_sales(payments_session: Session) -> None:
    assert charge_wallets(payments_session, charge_of(1, 30)) == {}
    assert wallet_balance(payments_session) == 70
    assert ledger_entries(payments_session, 1) == [("charge", "sales", 30), ("charge", "wallet:ada", -30)]
    assert find_ledger_mismatches(payments_session) == []


@pytest.mark.parametrize(
    ("wallet", "amount", "currency", "decline"),
    [
        (NewWallet("bob", "EUR", 100, blocked=True), 1, "EUR", Decline.BLOCKED),
        (NewWallet("bob", "EUR", 100, blocked=True), 0, "EUR", Decline.BLOCKED),
        (NewWallet("bob", "USD", 100, blocked=True), 900, "EUR", Decline.BLOCKED),
        (NewWallet("bob", "EUR", 100, order_limit=50), 51, "EUR", Decline.LIMIT),
        (NewWallet("bob", "EUR", 10, order_limit=50), 51, "EUR", Decline.LIMIT),
        (NewWallet("bob", "EUR", 100, order_limit=0), 1, "EUR", Decline.LIMIT),
        (NewWallet("bob", "USD", 100), 1, "EUR", Decline.CURRENCY),
        (NewWallet("bob", "EUR", 100), 101, "EUR", Decline.NO_MONEY),
        (NewWallet("bob", "EUR", 0), 1, "EUR", Decline.NO_MONEY),
        (NewWallet("eve", "EUR", 100), 1, "EUR", Decline.NO_MONEY),
    ],
    ids=[
        "blocked", "blocked, for nothing", "blocked before all else", "over the limit", "limit before money",
        "a limit of nothing", "another currency", "one cent short", "empty", "no wallet at all",
    ],
)  # fmt: skip
def test_a_declined_order_is_not_charged(
    payments_session: Session, wallet: NewWallet, amount: int, currency: str, decline: Decline
) -> None:
    open_wallets(payments_session, [wallet])
    assert charge_wallets(payments_session, charge_of(1, amount, "bob", currency)) == {saga_id(1): decline}
    assert wallet_balance(payments_session, wallet.customer) == wallet.balance
    assert ledger_entries(payments_session, 1) == []


@pytest.mark.parametrize(
    ("balance_before", "amount"), [(100, 100), (100, 50)], ids=["the last cent", "just the limit"]
)
def test_an_order_can_use_the_whole_balance_or_limit(
    payments_session: Session, balance_before: int, amount: int
) -> None:
    open_wallets(payments_session, [NewWallet("bob", "EUR", balance_before, order_limit=amount)])
    assert charge_wallets(payments_session, charge_of(1, amount, "bob")) == {}
    assert wallet_balance(payments_session, "bob") == balance_before - amount


@pytest.mark.parametrize(
    "customer", ["ada", "eve", "uma"], ids=["a wallet", "no wallet", "a wallet of dollars"]
)
def test_a_free_order_is_charged_without_ledger_entries(payments_session: Session, customer: str) -> None:
    open_wallets(payments_session, [NewWallet("uma", "USD", 5, order_limit=0)])
    assert charge_wallets(payments_session, charge_of(1, 0, customer)) == {}
    assert ledger_entries(payments_session, 1) == [("charge", None, None)]
    refund_sagas(payments_session, 1)
    assert ledger_entries(payments_session, 1) == [("charge", None, None), ("refund", None, None)]
    assert (wallet_balance(payments_session), wallet_balance(payments_session, "uma")) == (100, 5)


def test_orders_of_one_customer_are_charged_by_saga_id(payments_session: Session) -> None:
    bills = [charge_of(1, 60), charge_of(2, 60), charge_of(3, 40), charge_of(4, 1)]
    for arrangement in itertools.permutations(bills):
        with payments_session.begin_nested() as savepoint:
            assert charge_wallets(payments_session, *arrangement) == {
                saga_id(2): Decline.NO_MONEY,
                saga_id(4): Decline.NO_MONEY,
            }
            assert wallet_balance(payments_session) == 0
            assert find_ledger_mismatches(payments_session) == []
            savepoint.rollback()


def test_four_hundred_orders_take_as_few_statements_as_one(
    payments_session: Session, payments_engine: Engine
) -> None:
    statements: list[str] = []
    open_wallets(payments_session, [NewWallet(f"c{n}", "EUR", 100) for n in range(80)])
    event.listen(payments_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert charge_wallets(payments_session, *(charge_of(n, 20, f"c{n % 80}") for n in range(400))) == {}
    assert len(statements) == 3
    statements.clear()
    refund_sagas(payments_session, *range(400))
    assert len(statements) == 4
    assert find_ledger_mismatches(payments_session) == []


# -- refunding -------------------------------------------------------------------------------------------


def test_a_refund_returns_the_amount_in_the_ledger(payments_session: Session) -> None:
    charge_wallets(payments_session, charge_of(1, 30))
    misled = PaymentCharged(order="O-1", currency="USD", amount=99)
    assert dict(refund.function(Batch({saga_id(1): misled}), payments_session)) == {
        saga_id(1): PaymentRefunded(order="O-1")
    }
    assert wallet_balance(payments_session) == 100
    assert ledger_entries(payments_session, 1)[2:] == [("refund", "sales", -30), ("refund", "wallet:ada", 30)]
    assert find_ledger_mismatches(payments_session) == []


def test_a_blocked_customer_is_refunded(payments_session: Session) -> None:
    charge_wallets(payments_session, charge_of(1, 30))
    open_wallets(payments_session, [NewWallet("ada", "EUR", 0, blocked=True, order_limit=0)])
    refund_sagas(payments_session, 1)
    assert wallet_balance(payments_session) == 100


def test_a_saga_without_a_charge_cannot_be_refunded(payments_session: Session) -> None:
    charge_wallets(payments_session, charge_of(1, 30), charge_of(2, 900))
    with pytest.raises(ledger.NotCharged, match=saga_id(2)) as refused:
        refund_sagas(payments_session, 1, 2)
    assert refused.value.sagas == {saga_id(2)}
    assert wallet_balance(payments_session) == 70


def test_a_refund_does_not_count_as_a_charge(payments_session: Session) -> None:
    charge_wallets(payments_session, charge_of(1, 30))
    refund_sagas(payments_session, 1)
    assert ledger.charges(payments_session, [saga_id(1)]) == [
        Transfer(saga_id(1), "O-1", "wallet:ada", "sales", "EUR", 30)
    ]


@pytest.mark.parametrize(
    ("source", "currency", "amount"),
    [("wallet:ada", "EUR", 101), ("wallet:ada", "USD", 1), ("wallet:eve", "EUR", 1)],
    ids=["too little", "another currency", "no wallet"],
)
def test_the_ledger_refuses_to_overdraw_a_wallet(
    payments_session: Session, source: str, currency: str, amount: int
) -> None:
    with pytest.raises(ledger.WalletUnfit, match=source.removeprefix("wallet:")):
        ledger.post(
            payments_session, Kind.CHARGE, [Transfer(saga_id(1), "O-1", source, "sales", currency, amount)]
        )


def test_a_saga_is_refunded_once(payments_session: Session) -> None:
    charge_wallets(payments_session, charge_of(1, 30))
    refund_sagas(payments_session, 1)
    with pytest.raises(DBAPIError, match="ledger_transaction_once"):
        refund_sagas(payments_session, 1)


def test_a_saga_is_charged_once(payments_session: Session) -> None:
    charge_wallets(payments_session, charge_of(1, 30))
    with pytest.raises(DBAPIError, match="ledger_transaction_once"):
        charge_wallets(payments_session, charge_of(1, 30))


def test_a_refund_to_a_missing_wallet_raises(payments_session: Session) -> None:
    charge_wallets(payments_session, charge_of(1, 30))
    payments_session.execute(text("DELETE FROM wallet"))
    with pytest.raises(ledger.WalletUnfit, match="ada"):
        refund_sagas(payments_session, 1)


# -- seed, steps -----------------------------------------------------------------------------------------


def test_opening_wallets_twice_adds_no_money(payments_session: Session) -> None:
    wallets = [NewWallet("bob", "EUR", 50), NewWallet("cy", "USD", 0, blocked=True)]
    assert open_wallets(payments_session, wallets) == 1
    assert open_wallets(payments_session, wallets) == 0
    charge_wallets(payments_session, charge_of(1, 20, "bob"))
    assert open_wallets(payments_session, wallets) == 1
    assert (wallet_balance(payments_session, "bob"), wallet_balance(payments_session, "cy")) == (50, 0)
    assert find_ledger_mismatches(payments_session) == []


def test_a_wallet_does_not_change_its_currency(payments_session: Session) -> None:
    with pytest.raises(ledger.WalletUnfit, match="ada"):
        open_wallets(payments_session, [NewWallet("ada", "USD", 1)])


def test_the_step_returns_the_outcome_of_each_saga(payments_session: Session) -> None:
    def reserved(amount: int) -> StockReserved:
        return StockReserved(order="O-1", customer="ada", currency="EUR", amount=amount)

    output = charge.function(Batch({saga_id(2): reserved(60), saga_id(1): reserved(60)}), payments_session)
    assert dict(output) == {
        saga_id(1): PaymentCharged(order="O-1", currency="EUR", amount=60),
        saga_id(2): PaymentDeclined(order="O-1", cause=Decline.NO_MONEY),
    }
