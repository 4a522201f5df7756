"""Audit events of all sagas, and all dead letters. Only the audit participant inserts rows."""

# ruff: noqa: DJ001 - NULL marks a text that does not exist yet; "" would be a text

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class SagaEvent(models.Model):
    """One event of a saga. The table is append-only; a trigger enforces it."""

    class Kind(models.TextChoices):
        SIGNAL = "signal", "signal"
        REFUSAL = "refusal", "refusal"
        ANSWER = "answer", "answer"
        NOTICE = "notice", "notice"
        ATTENTION = "attention", "attention"

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(unique=True, help_text="the id of the signal or notice")
    saga_id = models.UUIDField()
    cause = models.UUIDField(null=True, help_text="the signal that led to it")
    kind = models.TextField(choices=Kind)
    name = models.TextField(help_text="the signal's or notice's name")
    participant = models.TextField(help_text="emitted it")
    step = models.TextField(null=True)
    task_id = models.TextField(null=True)
    attempt = models.IntegerField(null=True)
    again = models.BooleanField(help_text="re-sent")
    reason = models.TextField(null=True, help_text="why it was refused")
    said_at = models.DateTimeField()
    heard_at = models.DateTimeField(db_default=Now())
    data = models.JSONField()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["saga_id", "id"], name="saga_event_story"),
            models.Index(fields=["task_id"], name="saga_event_task", condition=Q(task_id__isnull=False)),
            # One index for each rare kind. PostgreSQL estimates an index on kind and id as more expensive
            # than a backward scan of the primary key, which is slow when the last event of a kind is old.
            models.Index(fields=["id"], name="saga_event_refusal", condition=Q(kind="refusal")),
            models.Index(fields=["id"], name="saga_event_answer", condition=Q(kind="answer")),
            models.Index(fields=["id"], name="saga_event_attention", condition=Q(kind="attention")),
            models.Index(fields=["id"], name="saga_event_again", condition=Q(again=True)),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["signal", "refusal", "answer", "notice", "attention"]),
                name="saga_event_kind_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} by {self.participant}"


class DeadLetter(models.Model):
    """A signal whose step was given up, or a message that the broker gave up; one row for each."""

    class Source(models.TextChoices):
        PARTICIPANT = "participant", "step given up by a participant"
        BROKER = "broker", "message given up by the broker"
        UNHEARD = "unheard", "message without a consumer"

    class Outcome(models.TextChoices):
        REPLAYED = "replayed", "replayed"
        DISCARDED = "discarded", "discarded"

    id = models.BigAutoField(primary_key=True)
    source = models.TextField(choices=Source)
    key = models.CharField(max_length=64, help_text="the same for each delivery of the same dead letter")
    participant = models.TextField(help_text="the participant, or the queue that dead-lettered it")
    saga_id = models.UUIDField(null=True)
    step = models.TextField(null=True)
    topic = models.TextField(help_text="the signal's topic, if it is known")
    error = models.TextField()
    message = models.TextField()
    traceback = models.TextField()
    body = models.BinaryField(help_text="the undecoded message")
    digest = models.CharField(
        max_length=64, help_text="SHA-256 of the body; the logs print its first 16 digits"
    )
    headers = models.JSONField()
    attempts = models.IntegerField()
    received_at = models.DateTimeField(db_default=Now())
    outcome = models.TextField(choices=Outcome, null=True, help_text="the operator's decision")
    settled_at = models.DateTimeField(null=True)
    settled_by = models.TextField(null=True)
    settled_why = models.TextField(null=True)

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("replay_deadletter", "Can replay dead letters"),
            ("discard_deadletter", "Can discard dead letters"),
        ]
        indexes = [
            models.Index(fields=["saga_id"], name="dead_letter_saga", condition=Q(saga_id__isnull=False)),
            models.Index(fields=["-id"], name="dead_letter_open", condition=Q(outcome__isnull=True)),
            models.Index(
                fields=["outcome", "id"], name="dead_letter_settled", condition=Q(outcome__isnull=False)
            ),
            models.Index(fields=["source", "id"], name="dead_letter_source"),
            models.Index(fields=["participant", "id"], name="dead_letter_participant"),
            models.Index(fields=["step", "id"], name="dead_letter_step"),
            models.Index(fields=["error", "id"], name="dead_letter_error"),
            models.Index(fields=["digest"], name="dead_letter_digest", opclasses=["varchar_pattern_ops"]),
            models.Index(  # answers the grouped list alone
                fields=["participant", "step", "error", "received_at"],
                name="dead_letter_groups",
                condition=Q(outcome__isnull=True),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["key"], name="dead_letter_once"),
            models.CheckConstraint(
                condition=Q(source__in=["participant", "broker", "unheard"]), name="dead_letter_source_known"
            ),
            models.CheckConstraint(
                condition=Q(
                    outcome__isnull=True,
                    settled_at__isnull=True,
                    settled_by__isnull=True,
                    settled_why__isnull=True,
                )
                | Q(
                    outcome__isnull=False,  # a comparison with NULL would satisfy the CHECK
                    outcome__in=["replayed", "discarded"],
                    settled_at__isnull=False,
                    settled_by__isnull=False,
                    settled_why__isnull=False,
                ),
                name="dead_letter_settled_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.topic or 'unread'} at {self.participant}"
