"""An explicit-state checker: every state that the model can reach, shortest way first."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.model.saga_model import books, ended, ended_wrong, owes, start, transitions, wrong
from tests.model.state import Act, Scenario, World


@dataclass
class Result:
    """What a check found; ``trace`` leads to the fault by a shortest way."""

    states: int = 0
    fault: str = ""
    trace: tuple[Act, ...] = ()
    ends: Counter[str] = field(default_factory=Counter)


class Checker:
    """Checks in every reachable state: the properties; that every quiet state is a good end; that a good end
    stays reachable by acts that are bound to happen (no lucky repeat, no customer needed); that nothing
    changes after it.
    """

    def __init__(self, scenario: Scenario, flaws: Iterable[str] = ()) -> None:
        self.scenario, self.flaws = scenario, frozenset(flaws)
        self.numbers: dict[World, int] = {}
        self._parents: list[tuple[int, Act | None]] = []
        self._sources: list[list[int]] = []

    def check(self) -> Result:
        """Breadth first."""
        result = Result()
        queue: deque[World] = deque()
        self._meet(start(self.scenario, self.flaws), 0, None, queue)
        goals: list[int] = []
        while queue and not result.fault:
            world = queue.popleft()
            here = self.numbers[world]
            good = all(not owes(s) and ended(s) for s in world[1])
            if good:
                goals.append(here)
                result.ends[" ".join(s.status for s in world[1])] += 1
            self._go_on(world, here, good, queue, result)
        if not result.fault and (dead := self._dead_end(goals)) is not None:
            result.fault, result.trace = "no good end can be reached any more", self.path(dead)
        result.states = len(self.numbers)
        return result

    def _go_on(self, world: World, here: int, good: bool, queue: deque[World], result: Result) -> None:
        for act, reached in transitions(world, self.flaws, self.scenario):
            if reached == world:
                continue
            if good and list(map(books, world[1])) != list(map(books, reached[1])):
                result.fault, result.trace = "the books change after the end", (*self.path(here), act)
                return
            new = reached not in self.numbers
            there = self._meet(reached, here, act, queue)
            if new and (fault := wrong(reached) or ended_wrong(reached)):
                result.fault, result.trace = fault, self.path(there)
                return
            if act.owed:
                self._sources[there].append(here)

    def _meet(self, world: World, parent: int, act: Act | None, queue: deque[World]) -> int:
        number = self.numbers.setdefault(world, len(self.numbers))
        if number == len(self._parents):
            self._parents.append((parent, act))
            self._sources.append([])
            queue.append(world)
        return number

    def path(self, number: int) -> tuple[Act, ...]:
        """A shortest way from the start."""
        acts: list[Act] = []
        while number:
            number, act = self._parents[number]
            assert act is not None
            acts.append(act)
        return tuple(reversed(acts))

    def _dead_end(self, goals: list[int]) -> int | None:
        alive = bytearray(len(self._parents))
        stack = list(goals)
        while stack:
            number = stack.pop()
            if not alive[number]:
                alive[number] = 1
                stack += self._sources[number]
        dead = alive.find(0)
        return None if dead < 0 else dead
