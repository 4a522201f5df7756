"""Run all checks in order; a server that cannot be reached is one finding and does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress

import psycopg2
import psycopg2.errors
from sqlalchemy.exc import ProgrammingError

from ordersaga.choreography import Choreography
from ordersaga.database import first_line
from ordersaga.errors import PoolerRefused
from ordersaga.sessions import connect
from webapp.ops import broker
from webapp.ops.doctor import backlog, pg_settings, pgmq, pools, roles, schema_objects
from webapp.ops.doctor.configuration import check_settings
from webapp.ops.doctor.database import IDENTITY, Database
from webapp.ops.doctor.finding import Finding, error, warning
from webapp.ops.doctor.rabbitmq import RabbitMQ
from workers.settings import DOMAINS, PREFIX, Domain, Settings


def examine(
    ours: Settings, choreography: Choreography, *, management: str = "", pools_running: bool = True
) -> list[Finding]:
    """Return all findings, errors first.

    :param management: the address of RabbitMQ's management interface, if it is not the default.
    :param pools_running: report pools that are not running.
    :raises psycopg2.Error: when a connected database cannot be read.
    """
    with ExitStack() as stack:
        findings = list(_examine(ours, choreography, management, stack, pools_running=pools_running))
    return sorted(findings, key=lambda finding: finding.level != "error")


def _examine(
    ours: Settings, choreography: Choreography, management: str, stack: ExitStack, *, pools_running: bool
) -> Iterator[Finding]:
    yield from check_settings(ours)
    databases: list[Database] = []
    yield from _connect_databases(ours, databases, stack)
    everywhere = list(databases)
    if ours.broker_url.startswith("pgmq"):
        try:
            embedded = stack.enter_context(Database("broker", ours.broker_url))
            everywhere.append(embedded)
            yield from pgmq.check_topology(embedded, choreography)
        except PoolerRefused:
            yield error(
                "database-pooled",
                "embedded broker",
                "LISTEN does not work behind a connection pooler in transaction mode",
                f"{PREFIX}BROKER_URL leads to one",
                "Use the server's direct address",
            )
        except psycopg2.Error as fault:
            yield _unreachable_finding("embedded broker", f"{PREFIX}BROKER_URL", fault)
    elif not ours.broker_url.startswith(broker.AMQP_SCHEMES):
        yield error(
            "broker-unknown",
            f"{PREFIX}BROKER_URL",
            "it names an unsupported broker",
            broker.scheme_of(ours.broker_url),
            broker.SUPPORTED,
        )
    else:
        yield from RabbitMQ(
            ours.broker_url, choreography, management, production=ours.env == "production"
        ).examine()
    yield from pg_settings.check_server_settings(everywhere)
    for database in everywhere:
        yield from pg_settings.check_database_settings(database)
        yield from roles.check_role_attributes(
            database, [p.role for p in everywhere if p.role != database.role]
        )
    yield from roles.check_isolation(everywhere)
    yield from _check_reader_roles(ours)
    yield from pg_settings.check_clocks(everywhere)
    for database in databases:
        try:
            yield from _check_tables(database, choreography)
        except (
            psycopg2.errors.InsufficientPrivilege,
            ProgrammingError,
        ) as fault:  # SQLAlchemy's, from Alembic
            yield error(
                "tables-closed",
                database.name,
                f"the role {database.role} may not read its tables",
                first_line(fault),
                f"Let their owner GRANT privileges to {database.role}, or migrate with the role of the pools",
            )
    if pools_running:
        yield from _check_pools(ours, choreography, databases)


def _check_pools(
    ours: Settings, choreography: Choreography, databases: Sequence[Database]
) -> Iterator[Finding]:
    """Find pools that are not running; servers that cannot be reached are reported elsewhere."""
    if not databases:
        return
    running = set().union(*(pools.running_pools(database) for database in databases))
    if ours.broker_url.startswith(broker.AMQP_SCHEMES):
        connection = broker.open_connection(ours.broker_url)
        with suppress(*connection.connection_errors), connection:
            connection.connect()
            running |= pools.consumed_queues(connection, list(choreography.participants))
    yield from pools.check_pools(choreography, {database.domain for database in databases}, running)


def _connect_databases(ours: Settings, databases: list[Database], stack: ExitStack) -> Iterator[Finding]:
    """Connect to each participant's database and append it to ``databases``."""
    for domain in DOMAINS:
        try:
            databases.append(stack.enter_context(Database(domain, ours.direct_url(domain))))
        except PoolerRefused:
            yield error(
                "database-pooled",
                f"{domain} database",
                "a relay does not work behind a connection pooler in transaction mode",
                f"{ours.direct_variable(domain)} leads to one",
                f"Set {PREFIX}{domain.upper()}_DIRECT_URL to the server's direct address",
            )
        except psycopg2.Error as fault:
            yield _unreachable_finding(f"{domain} database", ours.direct_variable(domain), fault)
    for database in databases:
        yield from _check_direct_url(ours, database)


def _check_direct_url(ours: Settings, database: Database) -> Iterator[Finding]:
    """Check that the direct address leads to the database of the database URL, whose outbox is relayed."""
    domain: Domain = database.domain  # type: ignore[assignment]
    url = getattr(ours, f"{domain}_database_url")
    if ours.direct_url(domain) == url:
        return
    variable = f"{PREFIX}{domain.upper()}_DATABASE_URL"
    try:
        with closing(connect(url, application_name="doctor")) as connection, connection.cursor() as cursor:
            cursor.execute(IDENTITY)
            name, _, server, _ = cursor.fetchone()
    except psycopg2.Error as fault:
        yield _unreachable_finding(database.name, variable, fault)
        return
    if (name, server) != (database.dbname, database.server):
        yield error(
            "direct-elsewhere",
            database.name,
            "its relay publishes the outbox of another database",
            f"{ours.direct_variable(domain)} leads to {database.dbname}, which is not the database of "
            f"{variable}",
            f"Use the server behind {variable}, and the same database",
        )


def _check_reader_roles(ours: Settings) -> Iterator[Finding]:
    for domain in DOMAINS:
        if url := getattr(ours, f"{domain}_reader_url", None):
            try:
                with Database(domain, url) as database:
                    yield from roles.check_reader_role(database)
            except PoolerRefused:
                yield warning(
                    "reader-pooled",
                    f"{domain} database, for readers",
                    "its privileges cannot be checked through a pooler",
                    f"{PREFIX}{domain.upper()}_READER_URL leads to one in transaction mode",
                    "Run the doctor once with the server's direct address in that variable",
                )
            except psycopg2.OperationalError as fault:
                yield _unreachable_finding(
                    f"{domain} database, for readers", f"{PREFIX}{domain.upper()}_READER_URL", fault
                )


def _check_tables(database: Database, choreography: Choreography) -> Iterator[Finding]:
    yield from schema_objects.check_migrations(database)
    if database.has_tables():
        yield from schema_objects.check_schema_objects(database)
        yield from backlog.check_obstacles(database, choreography)
        yield from backlog.check_backlog(database, list(choreography.participants))


def _unreachable_finding(where: str, variable: str, fault: psycopg2.Error) -> Finding:
    remedy = f"Start PostgreSQL, correct {variable}, or create database and role: manage.py provision"
    return error("database-unreachable", where, "it cannot be reached", first_line(fault), remedy)
