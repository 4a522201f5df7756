"""No table: what the admin's index shows of Flower, and who may do more there than look."""

from __future__ import annotations

from django.db import models


class Pool(models.Model):  # noqa: DJ008 - there is no row that could be shown
    class Meta:
        managed = False
        default_permissions = ()
        permissions = [("control_pool", "Can control pools through Flower")]
        verbose_name_plural = "Pools and tasks, in Flower"
