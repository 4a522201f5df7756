"""A model without a table: Flower's entry in the admin's index, and the permission to control pools."""

from __future__ import annotations

from django.db import models


class Pool(models.Model):  # noqa: DJ008 - it has no rows
    class Meta:
        managed = False
        default_permissions = ()
        permissions = [("control_pool", "Can control pools through Flower")]
        verbose_name_plural = "Pools and tasks (Flower)"
