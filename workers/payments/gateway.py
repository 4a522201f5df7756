"""The payment gateway: its interface, and an implementation with customers' wallets."""

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
    """The amount of an order in integer minor units of ``currency``; a saga has at most one charge."""

    saga: SagaId
    order: OrderNumber
    customer: Customer
    currency: Currency
    amount: int


class Gateway(Protocol):
    """Charges and refunds batches of orders; a method that raises has changed nothing."""

    def charge(self, charges: Sequence[Charge]) -> dict[SagaId, Decline]:
        """Charge each order; return the reason for each declined one."""

    def refund(self, sagas: Collection[SagaId]) -> None:
        """Refund the full charges of these sagas."""


class WalletGateway:
    """Moves money between wallets and accounts in the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def charge(self, charges: Sequence[Charge]) -> dict[SagaId, Decline]:
        """See :meth:`Gateway.charge`. Orders are charged in the order of their sagas' ids.

        After a declined order, a smaller one of the same customer may still be charged. A free order needs no
        wallet, only a customer who is not blocked; its charge has no entries.
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
        """See :meth:`Gateway.refund`. Blocked customers are refunded, too.

        :raises workers.payments.ledger.NotCharged: when a saga has no charge.
        """
        back = [replace(c, source=c.target, target=c.source) for c in ledger.charges(self.session, sagas)]
        ledger.lock(self.session, (t.target.removeprefix(WALLET) for t in back if t.amount))
        ledger.post(self.session, Kind.REFUND, back)


def _decline(charge: Charge, wallet: WalletSnapshot | None, left: int) -> Decline | None:
    """The reason to decline a charge, if ``left`` is the available balance; None to accept it."""
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
