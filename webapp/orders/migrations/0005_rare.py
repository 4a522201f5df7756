"""What is rare is found at once, however long ago it was: sagas that are open, and those that were refused,
by their ids.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0004_room"),
    ]

    operations = [
        # The engine's table, the admin's filters. Confirming a saga changes neither column, so that it stays
        # a cheap update.
        migrations.RunSQL(
            ["CREATE INDEX ordersaga_saga_under_way ON ordersaga_saga (id) WHERE ended_at IS NULL"],
            ["DROP INDEX ordersaga_saga_under_way"],
        ),
        migrations.RunSQL(
            ["CREATE INDEX ordersaga_saga_refused ON ordersaga_saga (id) WHERE refusal IS NOT NULL"],
            ["DROP INDEX ordersaga_saga_refused"],
        ),
    ]
