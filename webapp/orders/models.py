"""Products, orders and their sagas. Money is an integer number of minor units with its currency."""

# ruff: noqa: DJ001 - NULL marks a text that does not exist yet; "" would be a text

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from workers.signals import MAX_QUANTITY

KEY_LENGTH = 128
"""The longest idempotency key, in characters."""
PRUNED_KEY_PREFIX = "forgotten:"
"""The prefix of a pruned key; the order's number follows."""


NAME_LENGTH = 200
"""The longest name of a product, in characters."""


class Product(models.Model):
    """A product of the catalogue; inventory keeps its stock."""

    sku = models.CharField(primary_key=True, max_length=64)
    name = models.CharField(max_length=NAME_LENGTH)
    price = models.BigIntegerField(help_text="minor units, for one unit")
    currency = models.CharField(max_length=3)
    active = models.BooleanField(default=True, db_default=True, help_text="whether it can be ordered")

    class Meta:
        indexes = [models.Index(fields=["name"], name="product_name", opclasses=["varchar_pattern_ops"])]
        constraints = [models.CheckConstraint(condition=Q(price__gte=0), name="product_price_not_negative")]

    def __str__(self) -> str:
        return self.sku


class Saga(models.Model):
    """The engine's row of a saga; only the engine writes it."""

    class Status(models.TextChoices):
        PENDING = "PENDING", "pending"
        CONFIRMED = "CONFIRMED", "confirmed"
        ROLLING_BACK = "ROLLING_BACK", "rolling back"
        ROLLED_BACK = "ROLLED_BACK", "rolled back"

    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    status = models.TextField(choices=Status)
    participants = ArrayField(models.TextField(), help_text="must answer a refusal")
    refusal = models.TextField(null=True, help_text="the refusal that rolled the saga back")
    refused_by = models.TextField(null=True)
    reason = models.TextField(null=True)
    deadline_at = models.DateTimeField()
    started_at = models.DateTimeField()
    moved_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    rounds = models.IntegerField("reminders", help_text="since the saga moved last")
    attention = models.TextField("needs attention", null=True, help_text="why it cannot continue by itself")

    class Meta:
        managed = False
        db_table = "ordersaga_saga"
        permissions = [("resume_saga", "Can resume sagas that need attention")]

    def __str__(self) -> str:
        return str(self.id)


class Order(models.Model):
    """An order; ``id`` is its number, and its status is that of its saga."""

    id = models.BigAutoField(primary_key=True)
    # checked at commit, so order and saga may be written in either order of one transaction
    saga = models.OneToOneField(Saga, on_delete=models.PROTECT, related_name="order")
    customer = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField(help_text="minor units, the sum of its lines")
    placed_at = models.DateTimeField(db_default=Now())
    idempotency_key = models.CharField(max_length=KEY_LENGTH)
    content_digest = models.CharField(max_length=64, help_text="SHA-256 of the order's content")
    confirmed_at = models.DateTimeField(null=True)

    class Meta:
        permissions = [
            ("place_order", "Can place orders"),
            ("cancel_order", "Can request cancellations"),
        ]
        # a single index; unique=True or db_index=True on text would create two
        indexes = [
            models.Index(fields=["customer"], name="order_customer", opclasses=["varchar_pattern_ops"])
        ]
        constraints = [
            # of two processes that place the same order, one succeeds
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
    """A quantity of one product; ``amount`` is for the whole line."""

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
    """A request to cancel an order, and its outcome."""

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
            # outcome and time are set together
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
