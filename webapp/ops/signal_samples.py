"""Samples of each version of each signal, which the current code must be able to read.

``workers/signal_samples/<Signal>.<version>.json`` holds one signal of each version that was in use. Queues,
outboxes and journals may contain such signals during a deploy, so ``choreography --check`` reads them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ordersaga.choreography import Choreography
from ordersaga.envelope import Reader, SignalRow
from ordersaga.signal import Signal

FOLDER = Path(__file__).resolve().parents[2] / "workers" / "signal_samples"


def signals_by_name(choreography: Choreography) -> dict[str, type[Signal]]:
    """Return the signals of the choreography by name."""
    return {
        s.__name__: s for step in choreography.steps for s in (step.signature.consumes, *step.signature.emits)
    }


def find_unreadable_samples(choreography: Choreography, folder: Path = FOLDER) -> list[str]:
    """Return a message for each sample that cannot be read, and each current version without a sample."""
    signals = signals_by_name(choreography)
    found = []
    for path in sorted(folder.glob("*.json")):
        name, version = path.stem.rsplit(".", 1)
        if name not in signals:
            continue  # of a participant that is not in the settings
        row: SignalRow[Any] = SignalRow(
            "", "", None, int(version), "", 0, None, None, json.loads(path.read_text())
        )
        try:
            Reader(signals[name]).signal_of(row)
        except (ValueError, KeyError, TypeError) as error:
            found.append(
                f"{name} version {version}, as recorded, cannot be read by version {signals[name].version}: "
                f"{error}. "
                f"Raise the version and translate in {name}.upcast()."
            )
    for name, signal in signals.items():
        if signal.__module__.startswith("workers.") and not _path(folder, signal).exists():
            found.append(
                f"{name} version {signal.version} is not recorded. Run: manage.py choreography --record"
            )
    return found


def write_samples(choreography: Choreography, folder: Path = FOLDER) -> Iterator[Path]:
    """Write a sample of each signal's current version unless one exists; existing samples stay unchanged."""
    folder.mkdir(exist_ok=True)
    for signal in signals_by_name(choreography).values():
        path = _path(folder, signal)
        if signal.__module__.startswith("workers.") and not path.exists():
            path.write_text(json.dumps(example_of(signal.model_json_schema()), indent=2) + "\n")
            yield path


def _path(folder: Path, signal: type[Signal]) -> Path:
    return folder / f"{signal.__name__}.{signal.version}.json"


def example_of(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> Any:
    """Return a minimal value of a signal's JSON schema, for the keywords that pydantic generates."""
    known = definitions if definitions is not None else schema.get("$defs", {})
    if "$ref" in schema:
        return example_of(known[schema["$ref"].rsplit("/", 1)[-1]], known)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: example_of(part, known) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [example_of(schema.get("items", {}), known)] * max(schema.get("minItems", 0), 1)
        case "integer":
            return max(schema.get("minimum", 0), 1)
        case "string":
            return "EUR" if schema.get("pattern") == "^[A-Z]{3}$" else "A-1"
        case "boolean":
            return True
    raise ValueError(f"no example for {schema}")
