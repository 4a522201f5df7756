"""The drawing of the choreography in the documents is the one the code draws."""

from __future__ import annotations

from ordersaga.drawing import draw
from tests.documents.pages import page
from workers.choreography import choreography


def test_the_drawn_choreography_is_todays() -> None:
    drawings = [block.text.strip() for block in page("docs/ARCHITECTURE.md").blocks_of("mermaid")]

    assert draw(choreography(), "mermaid") in drawings, "paste what `manage.py choreography --format mermaid` prints"
