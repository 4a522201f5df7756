"""Check whether a participant's pool on this machine is alive, for compose, systemd and people.

    python -m workers.health inventory

The check reads heartbeat files only, takes a fraction of a second, and prints one line for each process. A
pool whose database is not available is alive, because it waits and continues by itself; its line shows this.

Exit status: 0 all processes of the pool on this machine are alive; 1 one of them is not, or there is none; 2
the check failed (unknown pool, invalid settings).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from ordersaga.errors import ConfigurationError
from ordersaga.heartbeat import ProcessStatus, default_folder, live_processes
from workers.settings import settings

ALIVE, DEAD, UNKNOWN = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.health",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pool", help="the participant: orders, inventory, payments, audit")
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(arguments)
    try:
        folder = settings().run_dir or default_folder()
        found = live_processes(folder, _known(options.pool))
    except (ConfigurationError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return UNKNOWN
    alive = bool(found) and not any(status.faults for status in found)
    if options.json:
        processes = [
            {"node": status.node, "pid": status.pid, "faults": status.faults, "words": status.problems}
            for status in found
        ]
        lines = [json.dumps({"pool": options.pool, "alive": alive, "processes": processes})]
    else:
        lines = [_line(status) for status in found]
        if not lines:
            remedy = "set ORDERSAGA_RUN_DIR if its heartbeats are elsewhere"
            lines = [f"no process of {options.pool} runs here (looked in {folder}; {remedy})"]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return ALIVE if alive else DEAD


def _known(pool: str) -> str:
    modules = (*settings().participants, *settings().observers)
    known = [module.rsplit(".", 1)[-1] for module in modules]
    if pool not in known:
        raise ConfigurationError(f"There is no pool {pool!r}. There are: {', '.join(known)}")
    return pool


def _line(status: ProcessStatus) -> str:
    name = f"{status.node} (process {status.pid})"
    if status.faults:
        return f"{name} does not work: " + "; ".join(
            f"its {part} {fault}" for part, fault in status.faults.items()
        )
    words = "; ".join(f"its {part}: {text}" for part, text in status.problems.items())
    return f"{name} is alive" + (f", though {words}" if words else "")


if __name__ == "__main__":
    sys.exit(main())
