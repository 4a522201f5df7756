"""The demo's output: one line for each step."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

from rich.text import Text

from webapp.ops.cli.console import Console


class DemoFailed(Exception):
    """The demo cannot continue.

    :ivar tail: the last lines of the log with details.
    """

    def __init__(self, fault: str, remedy: str, tail: str = "") -> None:
        super().__init__(f"{fault} {remedy}")
        self.fault, self.remedy, self.tail = fault, remedy, tail


class Output:
    """Prints the demo's steps.

    :ivar steps: the finished steps and their durations in seconds.
    """

    def __init__(self, since: float, *, aside: bool = False) -> None:
        """:param since: the start of the demo, as ``time.time()``.
        :param aside: print to standard error, because standard output is for JSON.
        """
        self._console = Console(highlight=False, stderr=aside)
        self._since = since
        self.steps: list[tuple[str, float]] = []

    def title(self, text: str, rest: str = "") -> None:
        self._print("\n", (text, "bold"), "  " if rest else "", (rest, "dim"))

    def line(self, text: str = "", style: str = "") -> None:
        self._print((f"  {text}" if text else "", style))

    @contextmanager
    def step(self, what: str, detail: str) -> Iterator[None]:
        """Print that a step is running, and how long it took."""
        began = time.monotonic()
        with self._console.status(f"{what} …", spinner="dots"):
            yield
        took = time.monotonic() - began
        self.steps.append((what, took))
        self._print(("  ✓ ", "green"), f"{what:<30}", (f"{detail:<52}", "dim"), f"{took:5.1f} s")

    def pages(self, rows: Mapping[str, str]) -> None:
        """Print names and addresses, one per line."""
        for name, where in rows.items():
            self._print(f"  {name:<18}", (where, "cyan"))

    def age(self) -> float:
        """Return the seconds since the start."""
        return max(0.0, time.time() - self._since)

    def failure(self, failed: DemoFailed) -> None:
        self._print(("\n  ✗ ", "red"), (failed.fault, "bold red"))
        if failed.tail:
            self._print((indent(failed.tail, "    "), "dim"))
        self._print(f"    {failed.remedy}")

    def _print(self, *parts: str | tuple[str, str]) -> None:
        self._console.print(Text.assemble(*parts), soft_wrap=True)


@dataclass
class Result:
    """The result of a demo, as far as it is known.

    :ivar clean: whether every order has settled and the databases agree; None until it is known.
    :ivar fault: why it failed, and the remedy.
    :ivar orders: the output of ``seed_orders --json``.
    :ivar books: the output of ``reconcile --json``.
    """

    clean: bool | None = None
    fault: str | None = None
    orders: dict[str, Any] | None = None
    books: dict[str, Any] | None = None

    def as_json(self, steps: list[tuple[str, float]], seconds: float, logs: Path) -> str:
        """Return one JSON object; ``steps`` are the demo's steps with their seconds."""
        result = {
            "clean": bool(self.clean),
            "fault": self.fault,
            "orders": self.orders,
            "books": self.books,
            "steps": [{"step": what, "seconds": round(took, 3)} for what, took in steps],
            "seconds": round(seconds, 3),
            "logs": str(logs),
        }
        return json.dumps(result, indent=2)


def read_result(path: Path) -> dict[str, Any] | None:
    """Read the JSON object that a command has printed; None when it ended before."""
    text = path.read_text()
    result: dict[str, Any] | None = json.loads(text) if text else None
    return result
