"""A line at the head of Flower's pages that leads back to the admin."""

from __future__ import annotations

from django.urls import reverse
from django.utils.html import format_html

MAIN = b'<main class="app-content" id="main-content">'
"""Where Flower's pages begin; on a page without it no line is added."""


def with_bar(html: bytes, page: str) -> bytes:
    """``html`` with the line; on the page of a task it leads to the sagas that the task worked on."""
    links = format_html('<a href="{}">OrderSaga admin</a>', reverse("admin:index"))
    kind, _, task = page.partition("/")
    if kind == "task" and task:
        links += format_html(' · <a href="{}">the sagas of this task</a>', reverse("go", kwargs={"term": task}))
    return html.replace(MAIN, MAIN + f'<p class="container-fluid pt-2 mb-0 small">{links}</p>'.encode(), 1)
