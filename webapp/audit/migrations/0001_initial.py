"""The audit trail, which only grows, and the desk of dead letters."""

import django.db.models.functions.datetime
from django.db import migrations, models

# One trigger for the three ways to lose history; a statement that would change no row is refused as well.
APPEND_ONLY = """
CREATE FUNCTION audit_sagaevent_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_sagaevent_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_sagaevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_sagaevent_append_only();
"""
DROP_APPEND_ONLY = """
DROP TRIGGER audit_sagaevent_append_only ON audit_sagaevent;
DROP FUNCTION audit_sagaevent_append_only();
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "source",
                    models.TextField(
                        choices=[
                            ("participant", "a participant gave the step up"),
                            ("broker", "the broker gave the message up"),
                            ("unheard", "nobody listens to it"),
                        ]
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        help_text="the same for each delivery of the same dead letter", max_length=64
                    ),
                ),
                ("participant", models.TextField(help_text="the participant, or the queue where it died")),
                ("saga_id", models.UUIDField(null=True)),
                ("step", models.TextField(null=True)),
                ("topic", models.TextField(help_text="the signal's topic, as far as it can be told")),
                ("error", models.TextField()),
                ("message", models.TextField()),
                ("traceback", models.TextField()),
                ("body", models.BinaryField(help_text="as it came, undecoded")),
                (
                    "digest",
                    models.CharField(
                        help_text="SHA-256 of the body; the logs print its first 16 digits", max_length=64
                    ),
                ),
                ("headers", models.JSONField()),
                ("attempts", models.IntegerField()),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("saga_id__isnull", False)),
                        fields=["saga_id"],
                        name="dead_letter_saga",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("key",), name="dead_letter_once"),
                    models.CheckConstraint(
                        condition=models.Q(("source__in", ["participant", "broker", "unheard"])),
                        name="dead_letter_source_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SagaEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", models.UUIDField(help_text="the id of the signal or notice", unique=True)),
                ("saga_id", models.UUIDField()),
                ("cause", models.UUIDField(help_text="the signal that led to it", null=True)),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("signal", "signal"),
                            ("refusal", "refusal"),
                            ("answer", "answer"),
                            ("notice", "notice"),
                            ("attention", "attention"),
                        ]
                    ),
                ),
                ("name", models.TextField(help_text="the signal's or notice's name")),
                ("participant", models.TextField(help_text="who said it")),
                ("step", models.TextField(null=True)),
                ("task_id", models.TextField(null=True)),
                ("attempt", models.IntegerField(null=True)),
                ("again", models.BooleanField(help_text="said once more, after it had been said before")),
                ("reason", models.TextField(help_text="a refusal's, for people", null=True)),
                ("said_at", models.DateTimeField()),
                ("heard_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("data", models.JSONField()),
            ],
            options={
                "ordering": ["id"],
                "indexes": [models.Index(fields=["saga_id", "id"], name="saga_event_story")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("kind__in", ["signal", "refusal", "answer", "notice", "attention"])
                        ),
                        name="saga_event_kind_known",
                    )
                ],
            },
        ),
        migrations.RunSQL([APPEND_ONLY], [DROP_APPEND_ONLY]),
    ]
