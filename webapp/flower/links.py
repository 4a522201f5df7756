"""Addresses of Flower's pages behind the admin's proxy."""

from __future__ import annotations

from urllib.parse import quote

from django.urls import reverse


def flower_url(page: str = "") -> str:
    """Return the address of a page such as ``workers``; by default the start page."""
    return reverse("flower", kwargs={"page": page}) if page else reverse("flower_home")


def flower_task_url(task_id: str) -> str:
    """Return the address of a task's page. Flower drops its oldest tasks, and all tasks on a restart."""
    return flower_url(f"task/{quote(task_id, safe='')}")


def flower_worker_url(node: str) -> str:
    """Return the address of the page of a worker process such as ``inventory@host``."""
    return flower_url(f"worker/{node}")
