"""Room in the pages of orders: each is confirmed once, and the indexes need not hear of it."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("orders", "0003_lists")]

    operations = [
        migrations.RunSQL(
            ["ALTER TABLE orders_order SET (fillfactor = 70)"],
            ["ALTER TABLE orders_order RESET (fillfactor)"],
        ),
    ]
