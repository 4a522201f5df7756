"""Count the sagas that a step fails for, and pause it in this process when there are too many."""

from __future__ import annotations

from threading import Lock

from ordersaga.batch import SagaId


class CircuitBreaker:
    """The state of one step in one process; one object serves all threads."""

    THRESHOLD = 5
    """The number of different sagas whose failures, without a success in between, pause the step."""

    def __init__(self) -> None:
        self.paused = False
        self._failed: set[SagaId] = set()
        self._lock = Lock()

    def record_success(self) -> None:
        """Forget earlier failures."""
        if self._failed:
            with self._lock:
                self._failed.clear()

    def record_failure(self, saga: SagaId) -> bool:
        """Record a failure; return whether the step must be paused."""
        with self._lock:
            self._failed.add(saga)
            return self.paused or len(self._failed) >= self.THRESHOLD

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        with self._lock:
            self._failed.clear()
            self.paused = False
