"""Room for both versions of every order: at 70 % every other confirmation wrote into all five indexes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("orders", "0005_rare")]

    operations = [
        migrations.RunSQL(
            ["ALTER TABLE orders_order SET (fillfactor = 50)"],
            ["ALTER TABLE orders_order SET (fillfactor = 70)"],
        ),
    ]
