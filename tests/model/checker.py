"""An explicit-state model checker: it visits every reachable state, breadth first."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.model.saga_model import ended, ended_wrong, outcome, owes, start, transitions, wrong
from tests.model.state import Act, ModelState, Scenario


@dataclass
class Result:
    """The result of a check; ``trace`` is a shortest path to the fault."""

    states: int = 0
    fault: str = ""
    trace: tuple[Act, ...] = ()
    ends: Counter[str] = field(default_factory=Counter)


class Checker:
    """Checks in every reachable state that the invariants hold, that a quiet state is a good end, that a good
    end stays reachable by owed acts alone (no repeats, no customer), and that nothing changes after it.
    """

    def __init__(self, scenario: Scenario, flaws: Iterable[str] = ()) -> None:
        self.scenario, self.flaws = scenario, frozenset(flaws)
        self.numbers: dict[ModelState, int] = {}
        self._parents: list[tuple[int, Act | None]] = []
        self._sources: list[list[int]] = []

    def check(self) -> Result:
        result = Result()
        queue: deque[ModelState] = deque()
        self._meet(start(self.scenario, self.flaws), 0, None, queue)
        goals: list[int] = []
        while queue and not result.fault:
            state = queue.popleft()
            here = self.numbers[state]
            good = all(not owes(s) and ended(s) for s in state[1])
            if good:
                goals.append(here)
                result.ends[" ".join(s.status for s in state[1])] += 1
            self._go_on(state, here, good, queue, result)
        if not result.fault and (dead := self._dead_end(goals)) is not None:
            result.fault, result.trace = "no good end can be reached any more", self.path(dead)
        result.states = len(self.numbers)
        return result

    def _go_on(
        self, state: ModelState, here: int, good: bool, queue: deque[ModelState], result: Result
    ) -> None:
        for act, reached in transitions(state, self.flaws, self.scenario):
            if reached == state:
                continue
            if good and list(map(outcome, state[1])) != list(map(outcome, reached[1])):
                result.fault, result.trace = "the outcome changes after the end", (*self.path(here), act)
                return
            new = reached not in self.numbers
            there = self._meet(reached, here, act, queue)
            if new and (fault := wrong(reached) or ended_wrong(reached)):
                result.fault, result.trace = fault, self.path(there)
                return
            if act.owed:
                self._sources[there].append(here)

    def _meet(self, state: ModelState, parent: int, act: Act | None, queue: deque[ModelState]) -> int:
        number = self.numbers.setdefault(state, len(self.numbers))
        if number == len(self._parents):
            self._parents.append((parent, act))
            self._sources.append([])
            queue.append(state)
        return number

    def path(self, number: int) -> tuple[Act, ...]:
        """Return a shortest path from the initial state."""
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
