"""The readers by the name of their format."""

from __future__ import annotations

from pathlib import PurePath

from webapp.ops.order_import import cdnow, csv_rows, json_lines
from webapp.ops.order_import.record import FileRefused, Reader

READERS: dict[str, Reader] = {"csv": csv_rows.read, "jsonl": json_lines.read, "cdnow": cdnow.read}
ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def format_of(name: str) -> str:
    """The format that a file's name tells.

    :raises FileRefused: when it tells none.
    """
    try:
        return ENDINGS[PurePath(name).suffix.lower()]
    except KeyError:
        known = ", ".join(ENDINGS)
        raise FileRefused(f"does not tell its format by its name ({known}). Say --format {' or '.join(READERS)}") from None
