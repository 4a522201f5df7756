"""The append-only audit trail, and the dead letters."""

import django.db.models.functions.datetime
from django.db import migrations, models

# Refuses UPDATE, TRUNCATE and DELETE, even of no row. A pruning transaction may delete the rows that a
# trigger of webapp.ops allows.
APPEND_ONLY = """
CREATE FUNCTION audit_sagaevent_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('ordersaga.pruning', true) = 'on' THEN
        RETURN NULL;  -- each row is looked at by the other trigger
    END IF;
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
                            ("participant", "step given up by a participant"),
                            ("broker", "message given up by the broker"),
                            ("unheard", "message without a consumer"),
                        ]
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        help_text="the same for each delivery of the same dead letter", max_length=64
                    ),
                ),
                (
                    "participant",
                    models.TextField(help_text="the participant, or the queue that dead-lettered it"),
                ),
                ("saga_id", models.UUIDField(null=True)),
                ("step", models.TextField(null=True)),
                ("topic", models.TextField(help_text="the signal's topic, if it is known")),
                ("error", models.TextField()),
                ("message", models.TextField()),
                ("traceback", models.TextField()),
                ("body", models.BinaryField(help_text="the undecoded message")),
                (
                    "digest",
                    models.CharField(
                        help_text="SHA-256 of the body; the logs print its first 16 digits", max_length=64
                    ),
                ),
                ("headers", models.JSONField()),
                ("attempts", models.IntegerField()),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "outcome",
                    models.TextField(
                        choices=[("replayed", "replayed"), ("discarded", "discarded")],
                        help_text="the operator's decision",
                        null=True,
                    ),
                ),
                ("settled_at", models.DateTimeField(null=True)),
                ("settled_by", models.TextField(null=True)),
                ("settled_why", models.TextField(null=True)),
            ],
            options={
                "ordering": ["-id"],
                "permissions": [
                    ("replay_deadletter", "Can replay dead letters"),
                    ("discard_deadletter", "Can discard dead letters"),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("saga_id__isnull", False)),
                        fields=["saga_id"],
                        name="dead_letter_saga",
                    ),
                    models.Index(
                        condition=models.Q(("outcome__isnull", True)), fields=["-id"], name="dead_letter_open"
                    ),
                    models.Index(
                        condition=models.Q(("outcome__isnull", False)),
                        fields=["outcome", "id"],
                        name="dead_letter_settled",
                    ),
                    models.Index(fields=["source", "id"], name="dead_letter_source"),
                    models.Index(fields=["participant", "id"], name="dead_letter_participant"),
                    models.Index(fields=["step", "id"], name="dead_letter_step"),
                    models.Index(fields=["error", "id"], name="dead_letter_error"),
                    models.Index(
                        fields=["digest"], name="dead_letter_digest", opclasses=["varchar_pattern_ops"]
                    ),
                    models.Index(
                        condition=models.Q(("outcome__isnull", True)),
                        fields=["participant", "step", "error", "received_at"],
                        name="dead_letter_groups",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("key",), name="dead_letter_once"),
                    models.CheckConstraint(
                        condition=models.Q(("source__in", ["participant", "broker", "unheard"])),
                        name="dead_letter_source_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("outcome__isnull", True),
                                ("settled_at__isnull", True),
                                ("settled_by__isnull", True),
                                ("settled_why__isnull", True),
                            ),
                            models.Q(
                                ("outcome__in", ["replayed", "discarded"]),
                                ("outcome__isnull", False),
                                ("settled_at__isnull", False),
                                ("settled_by__isnull", False),
                                ("settled_why__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="dead_letter_settled_whole",
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
                ("participant", models.TextField(help_text="emitted it")),
                ("step", models.TextField(null=True)),
                ("task_id", models.TextField(null=True)),
                ("attempt", models.IntegerField(null=True)),
                ("again", models.BooleanField(help_text="re-sent")),
                ("reason", models.TextField(help_text="why it was refused", null=True)),
                ("said_at", models.DateTimeField()),
                ("heard_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("data", models.JSONField()),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(fields=["saga_id", "id"], name="saga_event_story"),
                    models.Index(
                        condition=models.Q(("task_id__isnull", False)),
                        fields=["task_id"],
                        name="saga_event_task",
                    ),
                    models.Index(
                        condition=models.Q(("kind", "refusal")), fields=["id"], name="saga_event_refusal"
                    ),
                    models.Index(
                        condition=models.Q(("kind", "answer")), fields=["id"], name="saga_event_answer"
                    ),
                    models.Index(
                        condition=models.Q(("kind", "attention")), fields=["id"], name="saga_event_attention"
                    ),
                    models.Index(condition=models.Q(("again", True)), fields=["id"], name="saga_event_again"),
                ],
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
