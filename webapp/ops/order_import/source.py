"""Open a file so that its lines can be read twice."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO

from webapp.ops.order_import import cdnow, csv_rows, json_lines
from webapp.ops.order_import.record import Fault, FileRefused, Reader

STDIN = "-"
MAX_LINE_BYTES = 100_000
"""The most bytes in one line; a hundred order lines need less."""
CHUNK = 1 << 16
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""The byte order marks of UTF-16 and UTF-32."""
BOM = b"\xef\xbb\xbf"


class Source:
    """A file that can be read from its beginning any number of times.

    :ivar digest: SHA-256 of its content.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._state = self._now()
        seen = hashlib.sha256()
        file.seek(0)
        while chunk := file.read(CHUNK):
            seen.update(chunk)
        self.digest = seen.hexdigest()

    def lines(self) -> Iterator[tuple[int, str | Fault]]:
        """Yield each line that is not blank with its number from 1; an undecodable line is a fault.

        :raises FileRefused: when it is UTF-16 or UTF-32, or changes while it is read.
        """
        self._file.seek(0)
        number = 0
        while line := self._file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if number == 1 and line.startswith(UTF16_MARKS):
                raise FileRefused("is UTF-16 or UTF-32. Save it as UTF-8")
            if number % 1000 == 1 and self._now() != self._state:
                raise FileRefused(
                    "was changed while it was read. Run the command again when no program writes to it"
                )
            text = self._text(number, line.removeprefix(BOM) if number == 1 else line)
            if isinstance(text, Fault) or text.strip():
                yield number, text

    def _text(self, number: int, line: bytes) -> str | Fault:
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = self._file.readline(CHUNK)
            return Fault(
                number, "line", f"is longer than {MAX_LINE_BYTES:,} bytes", "Put one order on a line"
            )
        if b"\0" in line:
            return Fault(number, "line", "contains NUL", "Write plain text, as UTF-8")
        try:
            return line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            where = f"is not UTF-8 from byte {error.start + 1} on"
            return Fault(number, "line", where, "Save the file as UTF-8, without lone surrogates")

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns


@contextmanager
def open_source(name: str) -> Iterator[Source]:
    """Open the file of that name; ``-`` and files that cannot be read twice are copied to a temporary file.

    :raises FileRefused: when it cannot be read.
    """
    with ExitStack() as stack:
        try:
            if not name:
                raise FileRefused("is empty. Name an existing file, or - for standard input")
            file: BinaryIO = sys.stdin.buffer if name == STDIN else stack.enter_context(Path(name).open("rb"))
            if name == STDIN or not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                copy = stack.enter_context(tempfile.TemporaryFile(prefix="place-orders-"))
                shutil.copyfileobj(file, copy, CHUNK)
                copy.flush()
                file = copy
            source = Source(file)
        except OSError as error:
            fault = error.strerror or error
            raise FileRefused(
                f"cannot be read: {fault}. Name an existing file, or - for standard input"
            ) from error
        yield source


READERS: dict[str, Reader] = {"csv": csv_rows.read, "jsonl": json_lines.read, "cdnow": cdnow.read}
FORMAT_OF_SUFFIX = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def guess_format(name: str) -> str:
    """Return the format by the suffix of a file's name.

    :raises FileRefused: when the suffix is unknown.
    """
    try:
        return FORMAT_OF_SUFFIX[PurePath(name).suffix.lower()]
    except KeyError:
        known = ", ".join(FORMAT_OF_SUFFIX)
        raise FileRefused(f"has none of the suffixes {known}. Use --format {' or '.join(READERS)}") from None
