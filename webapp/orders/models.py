"""What the shop keeps of an order. Money is an integer number of minor units with its currency."""

# ruff: noqa: DJ001 - a text that is NULL has not happened; an empty one would have happened and be empty

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from workers.signals import MAX_QUANTITY

KEY_LENGTH = 128
"""The longest idempotency key, in characters."""
PRUNED_KEY_PREFIX = "forgotten:"
"""How a key begins that was spent and pruned; the order's number follows."""


NAME_LENGTH = 200
"""The longest name of a product, in characters."""


class Product(models.Model):
    """One article of the catalogue; its stock is the inventory's business."""

    sku = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=NAME_LENGTH)
    price = models.BigIntegerField(help_text="minor units, for one")
    currency = models.CharField(max_length=3)
    active = models.BooleanField(default=True, db_default=True, help_text="whether it can be ordered")

    class Meta:
        indexes = [models.Index(fields=["name"], name="product_name", opclasses=["varchar_pattern_ops"])]
        constraints = [models.CheckConstraint(condition=Q(price__gte=0), name="product_price_not_negative")]

    def __str__(self) -> str:
        return self.sku


class Saga(models.Model):
    """The engine's row of one saga, read here and written by the engine alone."""

    class Status(models.TextChoices):
        PENDING = "PENDING", "pending"
        CONFIRMED = "CONFIRMED", "confirmed"
        ROLLING_BACK = "ROLLING_BACK", "rolling back"
        ROLLED_BACK = "ROLLED_BACK", "rolled back"

    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    status = models.TextField(choices=Status)
    participants = ArrayField(models.TextField(), help_text="those who must answer a refusal")
    refusal = models.TextField(null=True, help_text="the refusal that turned the saga round")
    refused_by = models.TextField(null=True)
    reason = models.TextField(null=True)
    deadline_at = models.DateTimeField()
    started_at = models.DateTimeField()
    moved_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    rounds = models.IntegerField(help_text="reminders in vain")
    attention = models.TextField(null=True, help_text="why a human should look")

    class Meta:
        managed = False
        db_table = "ordersaga_saga"
        permissions = [("resume_saga", "Can resume sagas that need attention")]

    def __str__(self) -> str:
        return str(self.id)


class Order(models.Model):
    """An order; ``id`` is the number shown to people. Its status is its saga's, nowhere else."""

    id = models.BigAutoField(primary_key=True)
    # checked at commit, so order and saga may be written in either order of one transaction
    saga = models.OneToOneField(Saga, on_delete=models.PROTECT, related_name="order")
    customer = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField(help_text="minor units, the sum of its lines")
    placed_at = models.DateTimeField(db_default=Now())
    idempotency_key = models.CharField(max_length=KEY_LENGTH)
    content_digest = models.CharField(max_length=64, help_text="SHA-256 of what was ordered")
    confirmed_at = models.DateTimeField(null=True)

    class Meta:
        permissions = [
            ("place_order", "Can place orders"),
            ("cancel_order", "Can ask for orders to be cancelled"),
        ]
        # one index each, where unique=True and db_index=True on text would make two
        indexes = [
            models.Index(fields=["customer"], name="order_customer", opclasses=["varchar_pattern_ops"])
        ]
        constraints = [
            # decides between two processes that place the same order
            models.UniqueConstraint(fields=["idempotency_key"], name="order_key_once"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="order_amount_not_negative"),
            models.CheckConstraint(condition=~Q(idempotency_key=""), name="order_key_not_empty"),
        ]

    def __str__(self) -> str:
        return f"order {self.id}"

    @property
    def status(self) -> str:
        """One of :class:`Saga.Status`; read with ``select_related("saga")`` for many orders."""
        return self.saga.status


class OrderLine(models.Model):
    """So many of one article; ``amount`` is for the whole line."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines", db_index=False)
    number = models.PositiveSmallIntegerField()
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="+", db_column="sku", db_index=False
    )
    quantity = models.PositiveIntegerField()
    amount = models.BigIntegerField(help_text="minor units")

    class Meta:
        ordering = ["order", "number"]
        constraints = [
            models.UniqueConstraint(fields=["order", "number"], name="order_line_number_once"),
            models.UniqueConstraint(fields=["order", "product"], name="order_line_product_once"),
            models.CheckConstraint(condition=Q(number__gte=1), name="order_line_number_from_one"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=MAX_QUANTITY), name="order_line_quantity_sane"
            ),
            models.CheckConstraint(condition=Q(amount__gte=0), name="order_line_amount_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product_id}"


class CancelRequest(models.Model):
    """The customer's wish to cancel, and what became of it."""

    class Outcome(models.TextChoices):
        CANCELLED = "cancelled", "cancelled"
        TOO_LATE = "too_late", "too late"

    order = models.OneToOneField(
        Order, on_delete=models.CASCADE, primary_key=True, related_name="cancel_request"
    )
    asked_by = models.CharField(max_length=150)
    asked_at = models.DateTimeField(db_default=Now())
    outcome = models.CharField(max_length=9, null=True, choices=Outcome)
    answered_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            # an answer has its time, and a time its answer
            models.CheckConstraint(
                condition=Q(outcome__isnull=True, answered_at__isnull=True)
                | Q(outcome__isnull=False, answered_at__isnull=False),
                name="cancel_request_answered_whole",
            ),
            models.CheckConstraint(
                condition=Q(outcome__isnull=True) | Q(outcome__in=["cancelled", "too_late"]),
                name="cancel_request_outcome_known",
            ),
        ]

    def __str__(self) -> str:
        return f"cancel order {self.order_id}"
