"""Deadlines and retries fall due by the databases' clocks, signals are dated by the pools' hosts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from webapp.ops.doctor.database import Patient
from webapp.ops.doctor.finding import Finding, error

APART = 2.0
"""Seconds."""
ASKED = 3


def clocks(patients: Iterable[Patient]) -> Iterator[Finding]:
    """Each server's clock against this host's; what the question takes on its way is granted."""
    for patient in patients:
        ahead = min((_ahead(patient) for _ in range(ASKED)), key=abs)
        if abs(ahead) > APART:
            word = "ahead of" if ahead > 0 else "behind"
            yield error(
                "clock-apart",
                patient.name,
                f"its clock and this host's are more than {APART:g} s apart",
                f"{abs(ahead):,.1f} s {word} this host",
                "Let NTP keep the time of both hosts (timedatectl, chronyc tracking)",
            )


def _ahead(patient: Patient) -> float:
    """Seconds that surely are not the network's."""
    before = time.time()
    theirs: float = patient.one("SELECT extract(epoch FROM clock_timestamp())::float8")
    after = time.time()
    if before <= theirs <= after:
        return 0.0
    return theirs - after if theirs > after else theirs - before
