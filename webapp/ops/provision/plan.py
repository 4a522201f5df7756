"""What was found missing, and whether it may be made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


class CannotProvision(Exception):
    """The servers cannot be made ready; the message says why and what to do."""


@dataclass
class Plan:
    """:ivar dry: nothing is made, only told.
    :ivar on_missing: called with each thing as it is found missing, before it is made.
    """

    dry: bool
    on_missing: Callable[[str], None] = lambda _: None
    missing: list[str] = field(default_factory=list)

    def ensure(self, what: str, make: Callable[[], object]) -> bool:
        """``what`` is missing: make it, unless nothing may be made. Whether it is there now."""
        if what not in self.missing:  # a dry run meets the readers' role at each of its databases
            self.missing.append(what)
            self.on_missing(what)
        if not self.dry:
            make()
        return not self.dry
