"""Where things are found in Flower, as staff reach it: through the admin."""

from __future__ import annotations

from urllib.parse import quote

from django.urls import reverse


def flower_url(page: str = "") -> str:
    """A page of Flower, such as ``workers``; its first page by default."""
    return reverse("flower", kwargs={"page": page}) if page else reverse("flower_home")


def flower_task_url(task_id: str) -> str:
    """The page of a task. Flower forgets its oldest tasks, and all of them when it is started again."""
    return flower_url(f"task/{quote(task_id, safe='')}")


def flower_worker_url(node: str) -> str:
    """The page of a pool's process, such as ``inventory@host``."""
    return flower_url(f"worker/{node}")
