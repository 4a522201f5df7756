"""Read-only models of tables in the inventory and payments databases, which their participants migrate."""

# ruff: noqa: DJ001 - the tables use NULL

from __future__ import annotations

from django.db import models


class Stock(models.Model):
    """The units of one product: on hand + held + sold = received."""

    domain = "inventory"

    sku = models.TextField("SKU", primary_key=True)
    on_hand = models.BigIntegerField()
    held = models.BigIntegerField(help_text="reserved for open orders")
    sold = models.BigIntegerField()
    received = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "product"
        default_permissions = ("view",)
        verbose_name = "stock item"
        verbose_name_plural = "stock items"

    def __str__(self) -> str:
        return self.sku


class Movement(models.Model):
    """Units received, or held, released or shipped for a saga; an append-only table."""

    domain = "inventory"

    id = models.BigIntegerField(primary_key=True)
    sku = models.TextField("SKU")
    saga_id = models.UUIDField(null=True)
    kind = models.TextField()
    quantity = models.IntegerField()
    at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "movement"
        default_permissions = ("view",)
        verbose_name = "stock movement"
        verbose_name_plural = "stock movements"

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku} {self.kind}"


class Reservation(models.Model):
    """The reservation of one order line."""

    domain = "inventory"

    pk = models.CompositePrimaryKey("saga_id", "line")
    saga_id = models.UUIDField()
    line = models.SmallIntegerField()
    order_number = models.TextField()
    sku = models.TextField("SKU")
    quantity = models.IntegerField()
    state = models.TextField()
    at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "reservation"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku} {self.state}"


class Wallet(models.Model):
    """A customer's wallet; its balance is the sum of the ledger entries on ``wallet:<customer>``."""

    domain = "payments"

    customer = models.TextField(primary_key=True)
    currency = models.TextField()
    balance = models.BigIntegerField(help_text="minor units")
    blocked = models.BooleanField()
    order_limit = models.BigIntegerField(null=True, help_text="minor units")

    class Meta:
        managed = False
        db_table = "wallet"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.customer


class LedgerTransaction(models.Model):
    """A transaction of double-entry bookkeeping; its entries sum to zero."""

    domain = "payments"

    id = models.BigIntegerField(primary_key=True)
    saga_id = models.UUIDField(null=True)
    kind = models.TextField()
    order_number = models.TextField(null=True)
    at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "ledger_transaction"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.what} {self.id}"

    @property
    def what(self) -> str:
        """Its kind, as words; only the participant knows all kinds."""
        return self.kind.replace("_", " ")


class LedgerEntry(models.Model):
    """The amount that a transaction adds to an account."""

    domain = "payments"

    pk = models.CompositePrimaryKey("transaction_id", "account", "currency")
    transaction = models.ForeignKey(LedgerTransaction, on_delete=models.DO_NOTHING, related_name="entries")
    account = models.TextField()
    currency = models.TextField()
    amount = models.BigIntegerField(help_text="minor units")

    class Meta:
        managed = False
        db_table = "ledger_entry"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} on {self.account}"
