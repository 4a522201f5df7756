from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Pool",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "Pools and tasks (Flower)",
                "permissions": [("control_pool", "Can control pools through Flower")],
                "managed": False,
                "default_permissions": (),
            },
        ),
    ]
