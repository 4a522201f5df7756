"""Render a choreography as text, as a Mermaid flowchart or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ordersaga.choreography import Choreography
from ordersaga.signal import DeadlinePassed, Signal
from ordersaga.step import Step


def draw(choreography: Choreography, style: str = "text") -> str:
    """Render the choreography as ``text``, ``mermaid`` or ``json``.

    :raises ValueError: for another format.
    """
    formats: dict[str, Callable[[Choreography], str]] = {"text": _text, "mermaid": _mermaid, "json": _json}
    if style not in formats:
        raise ValueError(f"cannot draw as {style!r}: choose one of {', '.join(formats)}")
    return formats[style](choreography)


def _role(choreography: Choreography, step: Step) -> str:
    if step.decides:
        return "decides"
    if step in choreography.pivots():
        return "pivot"
    if choreography.completes(step):
        return "completes"
    return "retried until it succeeds" if step.never_gives_up else "step"


def _outputs(step: Step) -> str:
    return (
        " | ".join([*(s.__name__ for s in step.successes), *(f"{s.__name__}!" for s in step.refusals)])
        or "(nothing)"
    )


def _text(choreography: Choreography) -> str:
    saga = choreography.saga
    name = saga.begins_with.__name__
    lines = [
        f"Saga {saga.name}: begins with {name}, initiated by {saga.initiator}, deadline {saga.deadline}",
        f"Participants that must answer: {', '.join(saga.participants)}",
        "",
    ]
    rows = []
    for step in choreography.forward_order():
        undo = f"undo: {step.declared_undo.name}" if step.declared_undo else ""
        role = _role(choreography, step)
        rows.append(
            (step.signature.consumes.__name__, step.key, _outputs(step), undo, "" if role == "step" else role)
        )
    widths = [max(len(row[n]) for row in rows) for n in range(4)]
    for consumed, key, emitted, undo, role in rows:
        arrows = f"{consumed:<{widths[0]}} → {key:<{widths[1]}} → {emitted:<{widths[2]}}"
        line = f"{arrows}  {undo:<{widths[3]}}  {role}"
        lines.append(line.rstrip())
    lines += ["", "! = refusal: every participant bars what has not run, undoes what has, and answers"]
    observers = [p.name for p in choreography.participants.values() if p.observer]
    if observers:
        lines.append(f"Observers of every event: {', '.join(observers)}")
    return "\n".join(lines)


def _mermaid(choreography: Choreography) -> str:
    saga = choreography.saga
    lines = ["flowchart LR", f'    start(["{saga.begins_with.__name__}"])']
    for participant in choreography.participants.values():
        if participant.steps:
            lines.append(f"    subgraph {participant.name}")
            for step in participant.steps.values():
                undo = f"<br/>undo: {step.declared_undo.name}" if step.declared_undo else ""
                lines.append(f'        {_id(step)}["{step.name}{undo}"]')
            lines.append("    end")
    lines += _arrows(choreography, saga.begins_with, "start")
    requests: list[type[Signal]] = [DeadlinePassed, *saga.accepts]
    for asked in requests:
        lines.append(f'    {asked.__name__}(["{asked.__name__}"])')
        lines += _arrows(choreography, asked, asked.__name__)
    refused = False
    for step in choreography.steps:
        for signal in step.successes:
            lines += _arrows(choreography, signal, _id(step))
        for signal in step.refusals:
            refused = True
            lines.append(f"    {_id(step)} -. {signal.__name__} .-> refused")
    if refused:
        lines.append('    refused{{"rolled back"}}')
    return "\n".join(lines)


def _arrows(choreography: Choreography, signal: type[Signal], source: str) -> list[str]:
    label = "" if source in ("start", signal.__name__) else f"|{signal.__name__}|"
    return [f"    {source} -->{label} {_id(step)}" for step in choreography.consumers(signal)]


def _id(step: Step) -> str:
    return step.key.replace(".", "_")


def _json(choreography: Choreography) -> str:
    saga = choreography.saga

    def described(step: Step) -> dict[str, Any]:
        return {
            "participant": step.participant,
            "step": step.name,
            "hears": step.signature.consumes.__name__,
            "says": [s.__name__ for s in step.successes],
            "refuses": [s.__name__ for s in step.refusals],
            "undo": step.declared_undo.name if step.declared_undo else None,
            "role": _role(choreography, step),
            "batched": step.signature.batched,
            "attempts": step.retry.attempts,
            "time_limit_seconds": step.time_limit.total_seconds(),
        }

    signals = {s for step in choreography.steps for s in (step.signature.consumes, *step.signature.emits)}
    return json.dumps(
        {
            "saga": saga.name,
            "begins_with": saga.begins_with.__name__,
            "initiator": saga.initiator,
            "participants": list(saga.participants),
            "observers": [p.name for p in choreography.participants.values() if p.observer],
            "deadline_seconds": saga.deadline.total_seconds(),
            "steps": [described(step) for step in choreography.forward_order()],
            "signals": {
                s.__name__: {"version": s.version, "schema": s.model_json_schema()}
                for s in sorted(signals, key=lambda s: s.__name__)
            },
        },
        indent=2,
    )
