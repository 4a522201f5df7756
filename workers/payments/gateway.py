"""Who takes and returns the money: a port, and its first form, the customers' wallets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Protocol

from sqlalchemy.orm import Session

from ordersaga.batch import SagaId
from workers.payments import ledger
from workers.payments.ledger import SALES, WALLET, Transfer, WalletSnapshot
from workers.payments.models import Kind
from workers.signals import Currency, Customer, Decline, OrderNumber


@dataclass(frozen=True, slots=True)
class Charge:
    """What an order costs, in integer minor units of ``currency``. The saga is the key that no two charges
    share.
    """

    saga: SagaId
    order: OrderNumber
    customer: Customer
    currency: Currency
    amount: int


class Gateway(Protocol):
    """Takes money for orders and gives it back, by the batch; who raises has changed nothing."""

    def charge(self, charges: Sequence[Charge]) -> dict[SagaId, Decline]:
        """Take the money of each order; give why for each that was declined."""

    def refund(self, sagas: Collection[SagaId]) -> None:
        """Give back what was taken for these sagas, however much it was."""


class WalletGateway:
    """The customers' wallets in the caller's transaction: nothing is taken or returned unless it commits."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def charge(self, charges: Sequence[Charge]) -> dict[SagaId, Decline]:
        """See :meth:`Gateway.charge`. Orders are served in the order of their sagas' ids: one that is
        declined takes nothing, and a later, smaller one of the same customer may still be paid.

        An order that costs nothing needs neither wallet nor money, only a customer who is not blocked. It
        leaves a charge without entries: it was charged, and no money moved.
        """
        wallets = ledger.lock(self.session, (c.customer for c in charges))
        left = {customer: wallet.balance for customer, wallet in wallets.items()}
        declined: dict[SagaId, Decline] = {}
        transfers: list[Transfer] = []
        for charge in sorted(charges, key=attrgetter("saga")):
            decline = _decline(charge, wallets.get(charge.customer), left.get(charge.customer, 0))
            if decline is not None:
                declined[charge.saga] = decline
                continue
            if charge.amount:
                left[charge.customer] -= charge.amount
            wallet = WALLET + charge.customer
            transfers.append(
                Transfer(charge.saga, charge.order, wallet, SALES, charge.currency, charge.amount)
            )
        ledger.post(self.session, Kind.CHARGE, transfers)
        return declined

    def refund(self, sagas: Collection[SagaId]) -> None:
        """See :meth:`Gateway.refund`. A blocked customer is refunded too.

        :raises workers.payments.ledger.NotCharged: when there is no charge for one of them.
        """
        back = [replace(c, source=c.target, target=c.source) for c in ledger.charges(self.session, sagas)]
        ledger.lock(self.session, (t.target.removeprefix(WALLET) for t in back if t.amount))
        ledger.post(self.session, Kind.REFUND, back)


def _decline(charge: Charge, wallet: WalletSnapshot | None, left: int) -> Decline | None:
    """Why an order cannot be paid from a wallet with so much left in it, if it cannot."""
    if wallet is not None and wallet.blocked:
        return Decline.BLOCKED
    if charge.amount == 0:
        return None
    if wallet is None:
        return Decline.NO_MONEY
    if wallet.currency != charge.currency:
        return Decline.CURRENCY
    if wallet.order_limit is not None and charge.amount > wallet.order_limit:
        return Decline.LIMIT
    return Decline.NO_MONEY if charge.amount > left else None
