"""A finding of the doctor, printed and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Finding:
    """One fault.

    :ivar code: a stable code for scripts.
    :ivar level: an ``error`` causes wrong results or stops work; a ``warning`` asks an operator to act.
    :ivar where: the server, database, role or queue.
    :ivar evidence: the value that was read.
    """

    code: str
    level: Literal["error", "warning"]
    where: str
    what: str
    evidence: str
    remedy: str


def error(code: str, where: str, what: str, evidence: str, remedy: str) -> Finding:

    return Finding(code, "error", where, what, evidence, remedy)


def warning(code: str, where: str, what: str, evidence: str, remedy: str) -> Finding:

    return Finding(code, "warning", where, what, evidence, remedy)


STYLE = {"error": "bold red", "warning": "yellow"}


def findings_as_json(findings: Sequence[Finding]) -> str:
    """Return all findings for scripts."""
    errors = sum(f.level == "error" for f in findings)
    counts = {"healthy": not errors, "errors": errors, "warnings": len(findings) - errors}
    return json.dumps({**counts, "findings": [asdict(finding) for finding in findings]}, indent=2)


def show_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print a table of findings, then a summary."""
    if findings:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 1, 0))
        table.add_column("finding", no_wrap=True)
        table.add_column("where, what and evidence", ratio=3, overflow="fold")
        table.add_column("remedy", ratio=2, overflow="fold")
        for finding in findings:
            what = Text(f"{finding.where}: {finding.what}\n").append(finding.evidence, style="dim")
            table.add_row(Text(finding.code, style=STYLE[finding.level]), what, Text(finding.remedy))
        console.print(table)
    errors = sum(f.level == "error" for f in findings)
    if errors:
        console.print(
            Text(
                f"{_plural(errors, 'error')}, {_plural(len(findings) - errors, 'warning')}", style="bold red"
            )
        )
    elif findings:
        console.print(Text(f"no error, {_plural(len(findings), 'warning')}", style="bold yellow"))
    else:
        console.print(
            Text(
                "no findings: settings, servers, roles, clocks, tables and queues are correct",
                "green",
            )
        )


def _plural(count: int, word: str) -> str:
    return f"{count or 'no'} {word}" + ("" if count == 1 else "s")
