"""Terminal output: rich's console and progress bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import rich.console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text


class Console(rich.console.Console):
    """Rich's console, but a broken pipe raises; :mod:`webapp.ops.cli.main` maps it to an exit status."""

    def on_broken_pipe(self) -> NoReturn:
        """Re-raise the error that is being handled."""
        raise  # noqa: PLE0704 - see above


def escape_unprintable(text: str, *, keep: str = "") -> str:
    """Escape the unprintable characters of ``text``, such as control characters and lone surrogates.

    :param keep: characters that stay unescaped, such as line ends.
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


MAX_STEPS = 10
"""Up to this total the speed is not shown, because it says nothing about a few steps."""


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
    """Return progress bars that are removed at the end; they are shown only on a terminal."""
    return Progress(
        TextColumn("  {task.description:9}"), BarColumn(bar_width=32), CountColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


class Bar:
    """One progress bar for the current phase; without a terminal it does nothing."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars
        self._what = ""
        self._task: TaskID | None = None

    def __call__(self, what: str, done: int, of: int) -> None:
        """Show that ``done`` of ``of`` are done."""
        if self._bars is None:
            return
        if self._task is None:
            self._task = self._bars.add_task(what, total=of, completed=done)
        elif what != self._what:  # restarts the clock, so that the speed is that of this phase
            self._bars.reset(self._task, total=of, completed=done, description=what)
        else:
            self._bars.update(self._task, completed=done, total=of)
        self._what = what

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the bar while other output is printed, perhaps on the same terminal."""
        if self._bars is None:
            yield
            return
        self._bars.stop()
        yield
        self._bars.start()


@contextmanager
def show_bar(console: rich.console.Console, *, hidden: bool = False) -> Iterator[Bar]:
    """Show a bar on the terminal of ``console``, unless it has none or ``hidden`` is set."""
    if hidden or not console.is_terminal:
        yield Bar(None)
        return
    with progress_bars(console) as bars:
        yield Bar(bars)
