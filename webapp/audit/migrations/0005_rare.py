"""An index for each kind of event that is rare, instead of one for all."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0004_lists"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="sagaevent", name="saga_event_rare"),
        *(
            migrations.AddIndex(
                model_name="sagaevent",
                index=models.Index(
                    condition=models.Q(("kind", kind)), fields=["id"], name=f"saga_event_{kind}"
                ),
            )
            for kind in ("refusal", "answer", "attention")
        ),
    ]
