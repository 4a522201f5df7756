"""All participants of a saga together, checked before the first message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ordersaga.errors import DeclarationError
from ordersaga.outbox import ANSWER, ATTENTION, NOTICE
from ordersaga.participant import Participant
from ordersaga.saga import Saga
from ordersaga.signal import DeadlinePassed, Refusal, Signal, topic_of
from ordersaga.sql.outbox import OBSERVERS
from ordersaga.step import Step


class Choreography:
    """The participants of one kind of saga. No component coordinates them."""

    def __init__(self, saga: Saga, participants: Sequence[Participant]) -> None:
        """Combine and check the declarations.

        :raises DeclarationError: with the step, the fault and the remedy.
        """
        self.saga = saga
        self.participants = {p.name: p for p in participants}
        if len(self.participants) < len(participants):
            raise DeclarationError(f"saga {saga.name}", "has two participants of one name", "Rename one")
        self.steps = [step for p in participants for step in p.steps.values()]
        self.observed = any(p.observer for p in participants)
        self._consumers: defaultdict[type[Signal], list[Step]] = defaultdict(list)
        for step in self.steps:
            self._consumers[step.signature.consumes].append(step)
        self.check()
        self._consumed = {
            ANSWER,
            ATTENTION,
            NOTICE,
            *(topic_of(step.signature.consumes) for step in self.steps),
        }
        self._order = {step.key: n for n, step in enumerate(self._forward(self.saga.begins_with))}

    # -- derived from the declarations

    def consumers(self, signal: type[Signal]) -> list[Step]:
        """The steps that consume a signal."""
        return self._consumers[signal]

    def completes(self, step: Step) -> bool:
        """Whether this step completes the saga: the initiator's listening end after the pivot."""
        return (
            step.participant == self.saga.initiator
            and not step.signature.emits
            and any(step.signature.consumes in pivot.successes for pivot in self.pivots())
        )

    def ends_confirmed(self, step: Step) -> bool:
        """Whether a confirming step completes the saga, because no step consumes its signal."""
        return step.confirms and not any(self.consumers(emitted) for emitted in step.successes)

    def confirming(self) -> list[Step]:
        """The steps that change the status to CONFIRMED."""
        return [step for step in self.steps if step.confirms]

    def pivots(self) -> list[Step]:
        """Emitting steps after the confirmation; only their own failure rolls a confirmed saga back."""
        after = [s for c in self.confirming() for emitted in c.successes for s in self._forward(emitted)]
        return [s for s in after if s.signature.emits]

    def undo_order(self, steps: Sequence[Step]) -> list[Step]:
        """The steps in the reverse of the order in which the saga reaches them."""
        return sorted(steps, key=lambda s: -self._order.get(s.key, len(self._order)))

    def forward_order(self) -> list[Step]:
        """All steps in the order in which the saga reaches them; steps off the forward path come last."""
        return sorted(self.steps, key=lambda s: self._order.get(s.key, len(self._order)))

    def bindings(self, participant: Participant) -> list[str]:
        """The routing keys that a participant's queue is bound to."""
        to_itself = f"to.{participant.name}"
        if participant.observer is not None:
            return [f"to.{OBSERVERS}", NOTICE, to_itself]
        keys = [topic_of(step.signature.consumes) for step in participant.steps.values()]
        if participant.name == self.saga.initiator:
            keys += [ANSWER, ATTENTION]
        return [*keys, "refusal.#", to_itself]

    def is_consumed(self, topic: str, recipient: str | None) -> bool:
        """Whether a queue is bound to the topic, or to the recipient if there is one."""
        if recipient == OBSERVERS or (recipient is None and topic == NOTICE):
            return self.observed
        return recipient is not None or topic in self._consumed or topic.startswith("refusal.")

    # -- checks

    def check(self) -> None:
        """Check every rule that does not need a running saga.

        :raises DeclarationError: for the first broken rule.
        """
        self._check_participants()
        self._check_signals()
        self._check_deciding()
        self._check_ends()
        self._check_after_confirmation()
        for step in self.steps:
            self._check_undo(step)

    def _check_participants(self) -> None:
        name = f"saga {self.saga.name}"
        for listed in self.saga.participants:
            found = self.participants.get(listed)
            if found is None:
                raise DeclarationError(
                    name,
                    f"lists {listed}, which is not declared",
                    "Add its module, or remove it from the list",
                )
            if not found.steps:
                raise DeclarationError(
                    listed,
                    "is listed and has no steps, so it cannot answer",
                    "Remove it from the saga's list",
                )
        for participant in self.participants.values():
            if participant.steps and participant.name not in self.saga.participants:
                raise DeclarationError(
                    participant.name,
                    f"has steps and is not in the participants of {name}",
                    "Add it: it must answer refusals",
                )

    def _check_signals(self) -> None:
        names: dict[str, type[Signal]] = {}
        emitted: defaultdict[type[Signal], list[str]] = defaultdict(list)
        for signal, who in self._emissions():
            if names.setdefault(signal.__name__, signal) is not signal:
                raise DeclarationError(
                    signal.__name__, "is the name of two signals", "Rename one: messages carry the name"
                )
            emitted[signal].append(who)
        for step in self.steps:
            consumed = step.signature.consumes
            if names.setdefault(consumed.__name__, consumed) is not consumed:
                raise DeclarationError(
                    consumed.__name__, "is the name of two signals", "Rename one: messages carry the name"
                )
            if consumed not in emitted:
                raise DeclarationError(
                    step.key,
                    f"consumes {consumed.__name__}, which no step emits",
                    "Emit it, or list it in `accepts`",
                )
            for signal in step.successes:
                if not self.consumers(signal) and signal not in self.saga.ends and not step.confirms:
                    raise DeclarationError(
                        step.key,
                        f"emits {signal.__name__}, which no step consumes",
                        "Consume it, or list it in the saga's `ends`",
                    )

    def _emissions(self) -> Iterator[tuple[type[Signal], str]]:
        yield self.saga.begins_with, "start"
        yield DeadlinePassed, "engine"
        for signal in self.saga.accepts:
            yield signal, "outside"
        for step in self.steps:
            for signal in step.signature.emits:
                yield signal, step.key
            for signal in step.declared_undo.signature.emits if step.declared_undo else ():
                yield signal, step.key

    def _check_deciding(self) -> None:
        for step in self.steps:
            if not step.decides:
                continue
            if step.participant != self.saga.initiator:
                raise DeclarationError(
                    step.key,
                    "decides and belongs to another participant than the initiator",
                    f"Only {self.saga.initiator} holds the saga's status",
                )
            if step.refusals and step.declared_undo:
                raise DeclarationError(
                    step.key,
                    "is a deciding step that refuses, and has an undo",
                    "Remove the undo: it changes nothing else",
                )

    def _check_ends(self) -> None:
        name = f"saga {self.saga.name}"
        if not any(s.decides and s.refusals for s in self.consumers(DeadlinePassed)):
            raise DeclarationError(
                name,
                "has a deadline, and no deciding step handles DeadlinePassed",
                f"Let a deciding step of {self.saga.initiator} consume DeadlinePassed and emit a refusal",
            )
        if not self.confirming():
            raise DeclarationError(
                name,
                "cannot succeed",
                f"Let a step of {self.saga.initiator} with decides=True emit a success",
            )
        if len(self.confirming()) > 1:
            raise DeclarationError(
                self.confirming()[1].key, "confirms, and so does another step", "Keep one confirming step"
            )
        reached = self._forward(self.saga.begins_with)
        for step in self.confirming():
            if step not in reached:
                raise DeclarationError(
                    step.key,
                    f"cannot be reached from {self.saga.begins_with.__name__}",
                    "Add the missing step between them",
                )

    def _check_after_confirmation(self) -> None:
        for step in self.steps:
            if any(step in self._forward(emitted) for emitted in step.successes):
                raise DeclarationError(
                    step.key,
                    "forms a cycle: what it emits leads back to it",
                    "Break the cycle: a saga runs each step once",
                )
        pivots = self.pivots()
        self._check_confirmation_leads_on(pivots)
        if len(pivots) > 1:
            raise DeclarationError(
                pivots[1].key,
                f"may refuse after the confirmation, and so may {pivots[0].key}",
                "Keep one pivot; let the other step consume the pivot's signal and return None",
            )
        for pivot in pivots:
            if pivot.signature.may_be_silent:
                raise DeclarationError(
                    pivot.key, "runs after the confirmation and may return None",
                    "Remove `None` from its result: the saga would never end",
                )  # fmt: skip
            for emitted in pivot.successes:
                if not any(self.completes(end) for end in self.consumers(emitted)):
                    raise DeclarationError(
                        pivot.key,
                        f"is the last step and {self.saga.initiator} does not consume {emitted.__name__}",
                        f"Let a step of {self.saga.initiator} consume {emitted.__name__} and return None",
                    )

    def _check_confirmation_leads_on(self, pivots: Sequence[Step]) -> None:
        """If any step consumes the confirmation, one of them must be a pivot, whose signal ends the saga."""
        for step in self.confirming():
            if self.ends_confirmed(step):
                continue
            for emitted in step.successes:
                if not any(consumer in pivots for consumer in self.consumers(emitted)):
                    raise DeclarationError(
                        step.key,
                        f"confirms with {emitted.__name__}, and no step that consumes it emits anything",
                        f"Let one of them emit a signal to {self.saga.initiator}: the saga would never end",
                    )

    def _check_undo(self, step: Step) -> None:
        """A step may have no undo only if no step can refuse after it."""
        pivot = step in self.pivots()
        if pivot and step.declared_undo:
            raise DeclarationError(
                step.key,
                "runs after the confirmation and has an undo",
                "Remove the undo: a pivot cannot be undone",
            )
        if pivot and step.refusals:
            raise DeclarationError(
                step.key,
                f"may emit {step.refusals[0].__name__} after the confirmation",
                "Refuse before it, or raise an exception",
            )
        if step.never_gives_up or step.confirms or pivot:
            return
        if step.declared_undo is None and step.successes:
            raise DeclarationError(
                step.key,
                "has no undo, and a later step can refuse",
                f"Add an undo: @{step.name}.undo",
            )
        without = self._forward(self.saga.begins_with, without=step)
        if any(s.confirms for s in without):
            raise DeclarationError(
                step.key,
                "can fail, and the confirmation does not wait for it",
                "Let the confirming step depend on its signal, or let it return None, so that it never fails",
            )

    def _forward(self, signal: type[Signal], *, without: Step | None = None) -> list[Step]:
        """The steps that follow from a signal, nearest first; not through the step ``without``."""
        found: list[Step] = []
        wave = list(self.consumers(signal))
        while wave:
            step = wave.pop(0)
            if step not in found and step is not without:
                found.append(step)
                wave += [
                    s
                    for emitted in step.signature.emits
                    if not issubclass(emitted, Refusal)
                    for s in self.consumers(emitted)
                ]
        return found
