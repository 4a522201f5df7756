"""The read-only models of other databases; no table is created."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "transaction_id",
                        "account",
                        "currency",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("account", models.TextField()),
                ("currency", models.TextField()),
                ("amount", models.BigIntegerField(help_text="minor units")),
            ],
            options={
                "db_table": "ledger_entry",
                "managed": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="LedgerTransaction",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("saga_id", models.UUIDField(null=True)),
                ("kind", models.TextField()),
                ("order_number", models.TextField(null=True)),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "ledger_transaction",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Movement",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("sku", models.TextField(verbose_name="SKU")),
                ("saga_id", models.UUIDField(null=True)),
                ("kind", models.TextField()),
                ("quantity", models.IntegerField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "stock movement",
                "verbose_name_plural": "stock movements",
                "db_table": "movement",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "saga_id", "line", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("saga_id", models.UUIDField()),
                ("line", models.SmallIntegerField()),
                ("order_number", models.TextField()),
                ("sku", models.TextField(verbose_name="SKU")),
                ("quantity", models.IntegerField()),
                ("state", models.TextField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "reservation",
                "managed": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Stock",
            fields=[
                ("sku", models.TextField(primary_key=True, serialize=False, verbose_name="SKU")),
                ("on_hand", models.BigIntegerField()),
                ("held", models.BigIntegerField(help_text="reserved for open orders")),
                ("sold", models.BigIntegerField()),
                ("received", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "stock item",
                "verbose_name_plural": "stock items",
                "db_table": "product",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Wallet",
            fields=[
                ("customer", models.TextField(primary_key=True, serialize=False)),
                ("currency", models.TextField()),
                ("balance", models.BigIntegerField(help_text="minor units")),
                ("blocked", models.BooleanField()),
                ("order_limit", models.BigIntegerField(help_text="minor units", null=True)),
            ],
            options={
                "db_table": "wallet",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
