"""What provisioning has found missing, and whether it may create it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


class CannotProvision(Exception):
    """Provisioning failed; the message names the reason and the remedy."""


@dataclass
class Plan:
    """:ivar dry: report what is missing, and create nothing.
    :ivar on_missing: called with each missing object before it is created.
    """

    dry: bool
    on_missing: Callable[[str], None] = lambda _: None
    missing: list[str] = field(default_factory=list)

    def ensure(self, what: str, make: Callable[[], object]) -> bool:
        """Record that ``what`` is missing and call ``make``, except in a dry run; return whether it exists
        now.
        """
        if what not in self.missing:  # a dry run finds the reader's role missing at each of its databases
            self.missing.append(what)
            self.on_missing(what)
        if not self.dry:
            make()
        return not self.dry
