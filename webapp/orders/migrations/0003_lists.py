"""The refusals' index and the names', for the lists of sagas and products."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0002_permissions"),
    ]

    operations = [
        # The engine's table, the admin's filter: which refusals there are, and the sagas of each. Its columns
        # change only when a saga turns, so that confirming one stays a cheap update.
        migrations.RunSQL(
            ["CREATE INDEX ordersaga_saga_refusal ON ordersaga_saga (refusal, id) WHERE refusal IS NOT NULL"],
            ["DROP INDEX ordersaga_saga_refusal"],
        ),
        migrations.AddIndex(
            model_name="product",
            index=models.Index(fields=["name"], name="product_name", opclasses=["varchar_pattern_ops"]),
        ),
    ]
