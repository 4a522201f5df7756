"""An index for each filter of the lists."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_event_task"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                condition=models.Q(("outcome__isnull", False)),
                fields=["outcome", "id"],
                name="dead_letter_settled",
            ),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["source", "id"], name="dead_letter_source"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["participant", "id"], name="dead_letter_participant"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["step", "id"], name="dead_letter_step"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(fields=["error", "id"], name="dead_letter_error"),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                fields=["digest"], name="dead_letter_digest", opclasses=["varchar_pattern_ops"]
            ),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                condition=models.Q(("outcome__isnull", True)),
                fields=["participant", "step", "error", "received_at"],
                name="dead_letter_groups",
            ),
        ),
        migrations.AddIndex(
            model_name="sagaevent",
            index=models.Index(
                condition=models.Q(("kind__in", ["refusal", "answer", "attention"])),
                fields=["kind", "id"],
                name="saga_event_rare",
            ),
        ),
        migrations.AddIndex(
            model_name="sagaevent",
            index=models.Index(condition=models.Q(("again", True)), fields=["id"], name="saga_event_again"),
        ),
    ]
