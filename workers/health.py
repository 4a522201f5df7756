"""Whether this machine's pool of a participant is alive: for compose, systemd timers and people.

    python -m workers.health inventory

It asks neither broker nor database, takes a fraction of a second and says one line for each process. A pool
whose database is away is alive: it waits and goes on by itself, and the line says so.

Exit status: 0 all processes of the pool here are alive; 1 one of them is not, or there is none; 2 it cannot
be told (no such pool, settings refused).
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
    """The command; see the head of this module."""
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
    alive = bool(found) and not any(life.faults for life in found)
    if options.json:
        processes = [
            {"node": life.node, "pid": life.pid, "faults": life.faults, "words": life.words} for life in found
        ]
        lines = [json.dumps({"pool": options.pool, "alive": alive, "processes": processes})]
    else:
        lines = [_line(life) for life in found]
        lines = lines or [
            f"no process of {options.pool} runs here (looked in {folder}; ORDERSAGA_RUN_DIR says where)"
        ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return ALIVE if alive else DEAD


def _known(pool: str) -> str:
    modules = (*settings().participants, *settings().observers)
    known = [module.rsplit(".", 1)[-1] for module in modules]
    if pool not in known:
        raise ConfigurationError(f"There is no pool {pool!r}. There are: {', '.join(known)}")
    return pool


def _line(life: ProcessStatus) -> str:
    name = f"{life.node} (process {life.pid})"
    if life.faults:
        return f"{name} is not well: " + "; ".join(
            f"its {part} {fault}" for part, fault in life.faults.items()
        )
    words = "; ".join(f"its {part}: {text}" for part, text in life.words.items())
    return f"{name} is alive" + (f", though {words}" if words else "")


if __name__ == "__main__":
    sys.exit(main())
