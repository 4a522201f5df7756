"""Checks of PostgreSQL's settings, connections and clocks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import groupby

from webapp.ops.doctor.database import Database
from webapp.ops.doctor.finding import Finding, error, warning

MIN_VERSION = 15
"""The oldest major version of PostgreSQL that is tested."""
MIN_CONNECTIONS = 15
"""The connections that a database needs: a pool of several processes, its relay, the web and a command."""
MAX_CONNECTION_SHARE = 0.85
"""The share of a server's connections in use above which a warning is reported."""
LONGEST_TRANSACTION = 60_000
"""Milliseconds that a transaction of a relay, the web or a command may take; pools set their own limits."""

SERVER_SETTINGS = {
    "fsync": ("on", "a power cut may lose what was committed"),
    "full_page_writes": ("on", "a power cut may tear pages"),
    "autovacuum": ("on", "tables with much churn, such as the outbox, grow and slow down without limit"),
    "track_counts": ("on", "autovacuum lacks the statistics that start it"),
}
"""The required value of each setting, and the consequence of another."""
SESSION_SETTINGS = {
    "synchronous_commit": (
        ("on", "local", "remote_write", "remote_apply"),
        "a crash may lose what was acknowledged to the broker or to a customer",
    ),
    "default_transaction_isolation": (
        ("read committed",),
        "the engine cannot see rows that concurrent transactions commit, so sagas fail or never end",
    ),
    "default_transaction_read_only": (("off",), "nothing can be written"),
    "session_replication_role": (
        ("origin", "local"),
        "triggers and foreign keys are not enforced",
    ),
    "server_encoding": (("UTF8",), "texts of signals cannot be stored"),
}
"""The allowed values of settings that a database or role may override, and the consequence of others."""
TIMEOUTS = (
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "statement_timeout",
    "transaction_timeout",
    "idle_session_timeout",
)

# The values that new sessions of this role get; this session has changed some of them.
SESSION_DEFAULTS = "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)"


def check_server_settings(databases: Iterable[Database]) -> Iterator[Finding]:
    """Check each server once for all its databases."""
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
        "SELECT current_setting('max_connections')::int - "
        "current_setting('superuser_reserved_connections')::int,"
        " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
    )
    if total < databases * MIN_CONNECTIONS:
        yield error(
            "connections-too-few",
            where,
            f"{databases} database(s) need at least {databases * MIN_CONNECTIONS} connections",
            f"{total} are allowed",
            "Raise max_connections and restart PostgreSQL",
        )
    elif used > total * MAX_CONNECTION_SHARE:
        yield warning(
            "connections-nearly-spent",
            where,
            "another pool may get no connection",
            f"{used} of {total} in use",
            "Raise max_connections, or run fewer processes",
        )


def check_database_settings(database: Database) -> Iterator[Finding]:
    """Check the settings of new sessions of a role in its database."""
    values = dict(database.rows(SESSION_DEFAULTS, [*SESSION_SETTINGS, *TIMEOUTS]))
    place = (
        f"ALTER ROLE {database.role} RESET {{0}}; ALTER DATABASE {database.dbname} RESET {{0}}, or the "
        f"server's configuration"
    )
    for name, (allowed, otherwise) in SESSION_SETTINGS.items():
        if values.get(name) not in allowed:
            remedy = (
                "Create the database again with ENCODING 'UTF8'"
                if name == "server_encoding"
                else place.format(name)
            )
            yield error(
                name.replace("_", "-"), database.name, otherwise, f"{name} = {values.get(name)}", remedy
            )
    for name in TIMEOUTS:
        milliseconds = int(values.get(name) or 0)
        if 0 < milliseconds < LONGEST_TRANSACTION:
            seconds = LONGEST_TRANSACTION // 1000
            what = f"it interrupts transactions of relays, the web and commands, which may take {seconds} s"
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
                "connection-limit", database.name, f"its pools need at least {MIN_CONNECTIONS} connections",
                f"{kind.lower()} {name} allows {limit}", f"ALTER {kind} {name} CONNECTION LIMIT -1",
            )  # fmt: skip


MAX_CLOCK_OFFSET = 2.0
"""Seconds."""
CLOCK_SAMPLES = 3


def check_clocks(databases: Iterable[Database]) -> Iterator[Finding]:
    """Compare the clock of each database with this host's; the round trip does not count."""
    for database in databases:
        ahead = min((_measure_clock_offset(database) for _ in range(CLOCK_SAMPLES)), key=abs)
        if abs(ahead) > MAX_CLOCK_OFFSET:
            word = "ahead of" if ahead > 0 else "behind"
            yield error(
                "clock-apart",
                database.name,
                f"its clock and that of this host differ by more than {MAX_CLOCK_OFFSET:g} s",
                f"{abs(ahead):,.1f} s {word} this host",
                "Synchronize both hosts with NTP (timedatectl, chronyc tracking)",
            )


def _measure_clock_offset(database: Database) -> float:
    """Return the offset in seconds that the network's delay cannot explain."""
    before = time.time()
    theirs: float = database.one("SELECT extract(epoch FROM clock_timestamp())::float8")
    after = time.time()
    if before <= theirs <= after:
        return 0.0
    return theirs - after if theirs > after else theirs - before
