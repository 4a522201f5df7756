"""PostgreSQL's settings that decide whether a commit is kept, a lock waited for, a trigger fired."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import groupby

from webapp.ops.doctor.database import Database
from webapp.ops.doctor.finding import Finding, error, warning

MIN_VERSION = 15
"""PostgreSQL's oldest major version that the tests run on."""
MIN_CONNECTIONS = 15
"""What a database needs at least: a pool of several processes, its relay, the web and a command."""
MAX_CONNECTION_SHARE = 0.85
"""The share of a server's connections in use that worries."""
LONGEST_TRANSACTION = 60_000
"""Milliseconds that a transaction of a relay, the web or a command may take. The pools' transactions set
their own limits.
"""

SERVER_SETTINGS = {
    "fsync": ("on", "a power cut may lose what was committed"),
    "full_page_writes": ("on", "a power cut may tear pages"),
    "autovacuum": ("on", "tables that are all churn, such as the outbox, grow and slow down for ever"),
    "track_counts": ("on", "autovacuum does not know what to do"),
}
"""What a server must be set to, and what happens otherwise."""
SESSION_SETTINGS = {
    "synchronous_commit": (
        ("on", "local", "remote_write", "remote_apply"),
        "a crash may lose what was acknowledged to the broker or to a customer",
    ),
    "default_transaction_isolation": (
        ("read committed",),
        "the engine reads again what a rival has committed, which is not seen so: sagas fail, or never end",
    ),
    "default_transaction_read_only": (("off",), "nothing can be written"),
    "session_replication_role": (
        ("origin", "local"),
        "triggers and foreign keys do not guard what is written",
    ),
    "server_encoding": (("UTF8",), "texts of signals cannot be held"),
}
"""What must hold for each database and role, which may both set them for themselves."""
TIMEOUTS = (
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "statement_timeout",
    "transaction_timeout",
    "idle_session_timeout",
)

# What new sessions of this role get; our own session has set some of them for itself.
SESSION_DEFAULTS = "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)"


def check_server_settings(databases: Iterable[Database]) -> Iterator[Finding]:
    """What holds for a whole server, told once for all databases that it holds."""
    for _, group in groupby(sorted(databases, key=lambda p: p.server), key=lambda p: p.server):
        members = list(group)
        where = f"PostgreSQL of {' and '.join(p.domain for p in members)}"
        one = members[0]
        values = dict(one.rows(SESSION_DEFAULTS, list(SERVER_SETTINGS)))
        for name, (wanted, otherwise) in SERVER_SETTINGS.items():
            if values.get(name) != wanted:
                remedy = f"ALTER SYSTEM SET {name} = {wanted}; SELECT pg_reload_conf()"
                yield error(name.replace("_", "-"), where, otherwise, f"{name} = {values.get(name)}", remedy)
        if one.version < MIN_VERSION * 10_000:
            yield error(
                "server-too-old",
                where,
                f"PostgreSQL {MIN_VERSION} or newer is needed",
                f"{one.version // 10_000}",
                "Upgrade it",
            )
        if one.one("SELECT pg_is_in_recovery()"):
            yield error(
                "server-is-standby",
                where,
                "a standby cannot be written to",
                "in recovery",
                "Name the primary",
            )
        yield from _check_connections(one, where, len(members))


def _check_connections(one: Database, where: str, databases: int) -> Iterator[Finding]:
    total, used = one.row(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,"
        " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
    )
    if total < databases * MIN_CONNECTIONS:
        yield error(
            "connections-too-few",
            where,
            f"{databases} database(s) need {databases * MIN_CONNECTIONS} connections at least",
            f"{total} are allowed",
            "Raise max_connections and restart PostgreSQL",
        )
    elif used > total * MAX_CONNECTION_SHARE:
        yield warning(
            "connections-nearly-spent",
            where,
            "the next pool may find no connection",
            f"{used} of {total} in use",
            "Raise max_connections, or run fewer processes",
        )


def check_database_settings(database: Database) -> Iterator[Finding]:
    """What holds for new sessions of one role in one database."""
    values = dict(database.rows(SESSION_DEFAULTS, [*SESSION_SETTINGS, *TIMEOUTS]))
    place = f"ALTER ROLE {database.role} RESET {{0}}; ALTER DATABASE {database.dbname} RESET {{0}}, or the server's configuration"
    for name, (allowed, otherwise) in SESSION_SETTINGS.items():
        if values.get(name) not in allowed:
            remedy = (
                "Make the database anew with ENCODING 'UTF8'"
                if name == "server_encoding"
                else place.format(name)
            )
            yield error(
                name.replace("_", "-"), database.name, otherwise, f"{name} = {values.get(name)}", remedy
            )
    for name in TIMEOUTS:
        milliseconds = int(values.get(name) or 0)
        if 0 < milliseconds < LONGEST_TRANSACTION:
            what = f"transactions of relays, the web and commands, which may take {LONGEST_TRANSACTION // 1000} s, are cut short"
            yield error(
                name.replace("_", "-"), database.name, what, f"{name} = {milliseconds} ms", place.format(name)
            )
    yield from _check_connection_limits(database)


def _check_connection_limits(database: Database) -> Iterator[Finding]:
    of_role, of_database = database.row(
        "SELECT (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),"
        " (SELECT datconnlimit FROM pg_database WHERE datname = current_database())"
    )
    for kind, name, limit in (("ROLE", database.role, of_role), ("DATABASE", database.dbname, of_database)):
        if 0 <= limit < MIN_CONNECTIONS:
            yield error(
                "connection-limit", database.name, f"its pools need {MIN_CONNECTIONS} connections at least",
                f"{kind.lower()} {name} allows {limit}", f"ALTER {kind} {name} CONNECTION LIMIT -1",
            )  # fmt: skip


MAX_CLOCK_OFFSET = 2.0
"""Seconds."""
CLOCK_SAMPLES = 3


def check_clocks(databases: Iterable[Database]) -> Iterator[Finding]:
    """Each server's clock against this host's; what the question takes on its way is granted."""
    for database in databases:
        ahead = min((_measure_clock_offset(database) for _ in range(CLOCK_SAMPLES)), key=abs)
        if abs(ahead) > MAX_CLOCK_OFFSET:
            word = "ahead of" if ahead > 0 else "behind"
            yield error(
                "clock-apart",
                database.name,
                f"its clock and this host's are more than {MAX_CLOCK_OFFSET:g} s apart",
                f"{abs(ahead):,.1f} s {word} this host",
                "Let NTP keep the time of both hosts (timedatectl, chronyc tracking)",
            )


def _measure_clock_offset(database: Database) -> float:
    """Seconds that surely are not the network's."""
    before = time.time()
    theirs: float = database.one("SELECT extract(epoch FROM clock_timestamp())::float8")
    after = time.time()
    if before <= theirs <= after:
        return 0.0
    return theirs - after if theirs > after else theirs - before
