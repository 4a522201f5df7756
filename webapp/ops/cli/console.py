"""The terminal, or whatever the output goes to instead."""

from __future__ import annotations

from typing import NoReturn

import rich.console


class Console(rich.console.Console):
    """Rich's, where a reader who has left is an error like any other: :mod:`webapp.ops.cli.main` gives it its status."""

    def on_broken_pipe(self) -> NoReturn:
        """Called while the error is being handled."""
        raise  # noqa: PLE0704 - see above


def printable(text: str, *, keep: str = "") -> str:
    """``text`` with escapes for what a terminal should not be given: control characters, lone surrogates.

    :param keep: characters that are let through all the same, such as line ends.
    """
    return "".join(char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in text)
