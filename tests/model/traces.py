"""Traces: ways through the model, to be walked by the real participants too."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.model.checker import Checker
from tests.model.saga_model import ended, owes, start, transitions
from tests.model.state import OWNED, Act, Saga, Scenario, World

Trace = list[tuple[Act, Saga]]
"""What happens, and the model's saga after it."""

EVERYTHING = Scenario("everything at once", errors=True, undo_fails=True, pauses=True, lost=True)
FAILURES = ("raises", "turns back, undo fails", "undo fails again", "paused")
RULES: frozenset[str] = frozenset()


class Impossible(Exception):
    """The model offers no such act."""


def follow(acts: list[Act], scenario: Scenario = EVERYTHING) -> tuple[World, Trace]:
    """The trace of these acts."""
    world, trace = start(scenario), Trace()
    for wanted in acts:
        world = _step(world, wanted, scenario)
        trace.append((wanted, world[1][0]))
    return world, trace


def _step(world: World, wanted: Act, scenario: Scenario) -> World:
    for act, reached in transitions(world, RULES, scenario):
        if act[:3] == wanted[:3]:
            return reached
    raise Impossible(str(wanted))


def finish(world: World, rng: random.Random, scenario: Scenario = EVERYTHING) -> Trace:
    """On to a good end: only what is bound to happen, in any order, and nothing fails any more."""
    trace: Trace = []
    while owes(world[1][0]) or not ended(world[1][0]):
        acts = [
            (a, w)
            for a, w in transitions(world, RULES, scenario)
            if a.owed and a.how not in (*FAILURES, "gives up")
        ]
        act, world = rng.choice(acts)
        trace.append((act, world[1][0]))
    return trace


def walk(rng: random.Random, length: int, scenario: Scenario = EVERYTHING) -> Trace:
    """Anything that may happen, for a while, and then to a good end and somewhat beyond."""
    world, trace = start(scenario), Trace()
    for _ in range(length):
        acts = list(transitions(world, RULES, scenario))
        weights = [
            (4.0 if a.owed else 1.0) * (0.4 if a.how in FAILURES or a.how == "lost" else 1.0) for a, _ in acts
        ]
        act, world = rng.choices(acts, weights)[0]
        trace.append((act, world[1][0]))
    trace += finish(world, rng, scenario)
    return trace


def situations(trace: Trace) -> Iterator[tuple[object, ...]]:
    """What each act of a trace met: the same act on the same rows of its participant, status and answers."""
    before = start(EVERYTHING)[1][0]
    for act, after in trace:
        rows = tuple(before.row(step) for step in OWNED.get(act.to, ()))
        yield act[:4], before.status, rows, act.to in before.heard
        before = after


def telling(traces: Iterator[Trace]) -> Iterator[Trace]:
    """Of many traces those that tell something new."""
    known: set[tuple[object, ...]] = set()
    for trace in traces:
        if not known.issuperset(met := set(situations(trace))):
            known |= met
            yield trace


def repeated(acts: list[Act], scenario: Scenario = EVERYTHING) -> Trace:
    """The trace of these acts; after each, every piece of mail handled so far is handled once more."""
    world, trace = start(scenario), Trace()
    for wanted in acts:
        world = _step(world, wanted, scenario)
        trace.append((wanted, world[1][0]))
        for signal, to, owed in sorted(world[1][0].mail):
            if not owed:
                act, world = next(
                    (a, w)
                    for a, w in transitions(world, RULES, scenario)
                    if a[:2] == (to, signal) and a.how not in (*FAILURES, "lost")
                )
                trace.append((act, world[1][0]))
    return trace + finish(world, random.Random(0), scenario)


def shortest(scenario: Scenario, goals: dict[str, frozenset[str]]) -> dict[str, list[Act]]:
    """A shortest way to states in which all of a goal's signals have been said, for each goal that can be
    reached.
    """
    checker = Checker(scenario)
    checker.check()
    found: dict[str, list[Act]] = {}
    for world, number in checker.numbers.items():
        for name in [n for n, signals in goals.items() if n not in found and signals <= world[1][0].said]:
            found[name] = list(checker.path(number))
    return found
