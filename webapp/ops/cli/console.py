"""The terminal, or whatever the output goes to instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import rich.console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text


class Console(rich.console.Console):
    """Rich's, where a reader who has left is an error like any other: :mod:`webapp.ops.cli.main` gives it its
    status.
    """

    def on_broken_pipe(self) -> NoReturn:
        """Called while the error is being handled."""
        raise  # noqa: PLE0704 - see above


def escape_unprintable(text: str, *, keep: str = "") -> str:
    """``text`` with escapes for what a terminal should not be given: control characters, lone surrogates.

    :param keep: characters that are let through all the same, such as line ends.
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


MAX_STEPS = 10
"""Up to so many are steps: how many of them go into a second tells nobody anything."""


class CountColumn(ProgressColumn):
    """``340 of 1,000, 512/s``; without a total, ``340, 512/s``; of a few, ``2 of 3``."""

    def render(self, task: Task) -> Text:
        many = task.total is None or task.total > MAX_STEPS
        speed = (
            f", {task.completed / task.elapsed:,.0f}/s" if many and task.elapsed and task.completed else ""
        )
        total = "" if task.total is None else f" of {task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{total}{speed}")


def progress_bars(console: rich.console.Console) -> Progress:
    """Bars that go away when all is done; on a terminal only."""
    return Progress(
        TextColumn("  {task.description:9}"), BarColumn(bar_width=32), CountColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


class Bar:
    """One bar, of what is under way now; without a terminal it is not there."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars
        self._what = ""
        self._task: TaskID | None = None

    def __call__(self, what: str, done: int, of: int) -> None:
        """So many of them are done, of so many."""
        if self._bars is None:
            return
        if self._task is None:
            self._task = self._bars.add_task(what, total=of, completed=done)
        elif what != self._what:  # a clock of its own: what was before has no part in the speed
            self._bars.reset(self._task, total=of, completed=done, description=what)
        else:
            self._bars.update(self._task, completed=done, total=of)
        self._what = what

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take it away while something is printed: standard output may be the same terminal."""
        if self._bars is None:
            yield
            return
        self._bars.stop()
        yield
        self._bars.start()


@contextmanager
def show_bar(console: rich.console.Console, *, hidden: bool = False) -> Iterator[Bar]:
    """A bar on ``console``'s terminal, unless it has none or the command speaks to a machine."""
    if hidden or not console.is_terminal:
        yield Bar(None)
        return
    with progress_bars(console) as bars:
        yield Bar(bars)
