"""The tables of orders, after those of the engine."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from ordersaga.sql.schema import create, drop

# Indexes on the engine's table for the admin's filters. Confirming a saga changes none of their columns, so
# that it stays a cheap update (HOT).
SAGA_INDEXES = (
    "CREATE INDEX ordersaga_saga_refusal ON ordersaga_saga (refusal, id) WHERE refusal IS NOT NULL",
    "CREATE INDEX ordersaga_saga_under_way ON ordersaga_saga (id) WHERE ended_at IS NULL",
    "CREATE INDEX ordersaga_saga_refused ON ordersaga_saga (id) WHERE refusal IS NOT NULL",
)
DROP_SAGA_INDEXES = ("DROP INDEX ordersaga_saga_refusal, ordersaga_saga_under_way, ordersaga_saga_refused",)
# Each page keeps room for the second version of its orders, which the confirmation writes, so that it updates
# no index. With 70 % half of the confirmations updated all five.
FILL_FACTOR = ("ALTER TABLE orders_order SET (fillfactor = 50)",)
RESET_FILL_FACTOR = ("ALTER TABLE orders_order RESET (fillfactor)",)


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.RunSQL(tuple(create("orders")), tuple(drop())),
        migrations.RunSQL(SAGA_INDEXES, DROP_SAGA_INDEXES),
        migrations.CreateModel(
            name="Saga",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("name", models.TextField()),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("PENDING", "pending"),
                            ("CONFIRMED", "confirmed"),
                            ("ROLLING_BACK", "rolling back"),
                            ("ROLLED_BACK", "rolled back"),
                        ]
                    ),
                ),
                (
                    "participants",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(), help_text="must answer a refusal", size=None
                    ),
                ),
                ("refusal", models.TextField(help_text="the refusal that rolled the saga back", null=True)),
                ("refused_by", models.TextField(null=True)),
                ("reason", models.TextField(null=True)),
                ("deadline_at", models.DateTimeField()),
                ("started_at", models.DateTimeField()),
                ("moved_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "rounds",
                    models.IntegerField(help_text="since the saga moved last", verbose_name="reminders"),
                ),
                (
                    "attention",
                    models.TextField(
                        help_text="why it cannot continue by itself",
                        null=True,
                        verbose_name="needs attention",
                    ),
                ),
            ],
            options={
                "db_table": "ordersaga_saga",
                "permissions": [("resume_saga", "Can resume sagas that need attention")],
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("customer", models.CharField(max_length=64)),
                ("currency", models.CharField(max_length=3)),
                ("amount", models.BigIntegerField(help_text="minor units, the sum of its lines")),
                ("placed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("idempotency_key", models.CharField(max_length=128)),
                (
                    "content_digest",
                    models.CharField(help_text="SHA-256 of the order's content", max_length=64),
                ),
                ("confirmed_at", models.DateTimeField(null=True)),
                (
                    "saga",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="order", to="orders.saga"
                    ),
                ),
            ],
            options={
                "permissions": [
                    ("place_order", "Can place orders"),
                    ("cancel_order", "Can request cancellations"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Product",
            fields=[
                ("sku", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=200)),
                ("price", models.BigIntegerField(help_text="minor units, for one unit")),
                ("currency", models.CharField(max_length=3)),
                (
                    "active",
                    models.BooleanField(db_default=True, default=True, help_text="whether it can be ordered"),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["name"], name="product_name", opclasses=["varchar_pattern_ops"])
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("price__gte", 0)), name="product_price_not_negative"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="OrderLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveSmallIntegerField()),
                ("quantity", models.PositiveIntegerField()),
                ("amount", models.BigIntegerField(help_text="minor units")),
                (
                    "order",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lines",
                        to="orders.order",
                    ),
                ),
                (
                    "product",
                    models.ForeignKey(
                        db_column="sku",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="orders.product",
                    ),
                ),
            ],
            options={
                "ordering": ["order", "number"],
            },
        ),
        migrations.CreateModel(
            name="CancelRequest",
            fields=[
                (
                    "order",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="cancel_request",
                        serialize=False,
                        to="orders.order",
                    ),
                ),
                ("asked_by", models.CharField(max_length=150)),
                ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "outcome",
                    models.CharField(
                        choices=[("cancelled", "cancelled"), ("too_late", "too late")],
                        max_length=9,
                        null=True,
                    ),
                ),
                ("answered_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("answered_at__isnull", True), ("outcome__isnull", True)),
                            models.Q(("answered_at__isnull", False), ("outcome__isnull", False)),
                            _connector="OR",
                        ),
                        name="cancel_request_answered_whole",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("outcome__isnull", True),
                            ("outcome__in", ["cancelled", "too_late"]),
                            _connector="OR",
                        ),
                        name="cancel_request_outcome_known",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["customer"], name="order_customer", opclasses=["varchar_pattern_ops"]),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(fields=("idempotency_key",), name="order_key_once"),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0)), name="order_amount_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("idempotency_key", ""), _negated=True), name="order_key_not_empty"
            ),
        ),
        migrations.AddConstraint(
            model_name="orderline",
            constraint=models.UniqueConstraint(fields=("order", "number"), name="order_line_number_once"),
        ),
        migrations.AddConstraint(
            model_name="orderline",
            constraint=models.UniqueConstraint(fields=("order", "product"), name="order_line_product_once"),
        ),
        migrations.AddConstraint(
            model_name="orderline",
            constraint=models.CheckConstraint(
                condition=models.Q(("number__gte", 1)), name="order_line_number_from_one"
            ),
        ),
        migrations.AddConstraint(
            model_name="orderline",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gte", 1), ("quantity__lte", 10000)),
                name="order_line_quantity_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="orderline",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0)), name="order_line_amount_not_negative"
            ),
        ),
        migrations.RunSQL(FILL_FACTOR, RESET_FILL_FACTOR),
    ]
