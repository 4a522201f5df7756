"""Traces: paths through the model, which the real participants replay."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.model.checker import Checker
from tests.model.saga_model import ended, owes, start, transitions
from tests.model.state import OWNED, Act, ModelState, SagaState, Scenario

Trace = list[tuple[Act, SagaState]]
"""Acts, each with the model's saga after it."""

EVERYTHING = Scenario("everything at once", errors=True, undo_fails=True, pauses=True, lost=True)
FAILURES = ("raises", "rolls back, undo fails", "undo fails again", "paused")
RULES: frozenset[str] = frozenset()


class Impossible(Exception):
    """The model does not allow the act."""


def follow(acts: list[Act], scenario: Scenario = EVERYTHING) -> tuple[ModelState, Trace]:
    """Return the final state and the trace of these acts."""
    state, trace = start(scenario), Trace()
    for wanted in acts:
        state = _step(state, wanted, scenario)
        trace.append((wanted, state[1][0]))
    return state, trace


def _step(state: ModelState, wanted: Act, scenario: Scenario) -> ModelState:
    for act, reached in transitions(state, RULES, scenario):
        if act[:3] == wanted[:3]:
            return reached
    raise Impossible(str(wanted))


def finish(state: ModelState, rng: random.Random, scenario: Scenario = EVERYTHING) -> Trace:
    """Return a trace to a good end: only owed acts, in random order, and no failures."""
    trace: Trace = []
    while owes(state[1][0]) or not ended(state[1][0]):
        acts = [
            (a, w)
            for a, w in transitions(state, RULES, scenario)
            if a.owed and a.how not in (*FAILURES, "gives up")
        ]
        act, state = rng.choice(acts)
        trace.append((act, state[1][0]))
    return trace


def walk(rng: random.Random, length: int, scenario: Scenario = EVERYTHING) -> Trace:
    """Return a random trace of ``length`` acts, continued to a good end."""
    state, trace = start(scenario), Trace()
    for _ in range(length):
        acts = list(transitions(state, RULES, scenario))
        weights = [
            (4.0 if a.owed else 1.0) * (0.4 if a.how in FAILURES or a.how == "lost" else 1.0) for a, _ in acts
        ]
        act, state = rng.choices(acts, weights)[0]
        trace.append((act, state[1][0]))
    trace += finish(state, rng, scenario)
    return trace


def situations(trace: Trace) -> Iterator[tuple[object, ...]]:
    """Yield each act with the status, the participant's rows, and whether it had received a refusal."""
    before = start(EVERYTHING)[1][0]
    for act, after in trace:
        rows = tuple(before.row(step) for step in OWNED.get(act.to, ()))
        yield act[:4], before.status, rows, act.to in before.heard
        before = after


def with_new_situations(traces: Iterator[Trace]) -> Iterator[Trace]:
    """Yield the traces that contain a situation not seen before."""
    known: set[tuple[object, ...]] = set()
    for trace in traces:
        if not known.issuperset(met := set(situations(trace))):
            known |= met
            yield trace


def repeated(acts: list[Act], scenario: Scenario = EVERYTHING) -> Trace:
    """Return the trace of these acts; after each act, every message handled so far is handled again."""
    state, trace = start(scenario), Trace()
    for wanted in acts:
        state = _step(state, wanted, scenario)
        trace.append((wanted, state[1][0]))
        for signal, to, owed in sorted(state[1][0].messages):
            if not owed:
                act, state = next(
                    (a, w)
                    for a, w in transitions(state, RULES, scenario)
                    if a[:2] == (to, signal) and a.how not in (*FAILURES, "lost")
                )
                trace.append((act, state[1][0]))
    return trace + finish(state, random.Random(0), scenario)


def shortest(scenario: Scenario, goals: dict[str, frozenset[str]]) -> dict[str, list[Act]]:
    """Return, for each reachable goal, a shortest path to a state in which all its signals were emitted."""
    checker = Checker(scenario)
    checker.check()
    found: dict[str, list[Act]] = {}
    for state, number in checker.numbers.items():
        for name in [n for n, signals in goals.items() if n not in found and signals <= state[1][0].emitted]:
            found[name] = list(checker.path(number))
    return found
