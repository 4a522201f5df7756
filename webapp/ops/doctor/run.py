"""All areas in their order; what cannot be reached is one finding, and the rest is looked at all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import psycopg2
import psycopg2.errors
from sqlalchemy.exc import ProgrammingError

from ordersaga.choreography import Choreography
from ordersaga.database import first_line
from ordersaga.errors import PoolerRefused
from ordersaga.sessions import connect
from webapp.ops import broker
from webapp.ops.doctor import backlog, pg_settings, pgmq, roles, schema_objects
from webapp.ops.doctor.configuration import configuration
from webapp.ops.doctor.database import WHO, Patient
from webapp.ops.doctor.finding import Finding, error, warning
from webapp.ops.doctor.rabbitmq import RabbitMQ
from workers.settings import DOMAINS, PREFIX, Domain, Settings


def examine(ours: Settings, choreography: Choreography, *, management: str = "") -> list[Finding]:
    """Everything that is not as it should be; errors first.

    :param management: the address of RabbitMQ's management interface, if it is not at the usual place.
    :raises psycopg2.Error: when a database that was reached refuses to be read.
    """
    with ExitStack() as stack:
        findings = list(_all(ours, choreography, management, stack))
    return sorted(findings, key=lambda finding: finding.level != "error")


def _all(ours: Settings, choreography: Choreography, management: str, stack: ExitStack) -> Iterator[Finding]:
    yield from configuration(ours)
    patients: list[Patient] = []
    yield from _reached(ours, patients, stack)
    everywhere = list(patients)
    if ours.broker_url.startswith("pgmq"):
        try:
            embedded = stack.enter_context(Patient("broker", ours.broker_url))
            everywhere.append(embedded)
            yield from pgmq.topology(embedded, choreography)
        except PoolerRefused:
            yield error(
                "database-pooled",
                "embedded broker",
                "no consumer can listen behind a connection pooler in transaction mode",
                f"{PREFIX}BROKER_URL leads to one",
                "Name the server itself",
            )
        except psycopg2.Error as fault:
            yield _unreachable("embedded broker", f"{PREFIX}BROKER_URL", fault)
    elif not ours.broker_url.startswith(broker.AMQP):
        yield error(
            "broker-unknown",
            f"{PREFIX}BROKER_URL",
            "it names a broker of another kind",
            broker.kind(ours.broker_url),
            broker.KINDS,
        )
    else:
        yield from RabbitMQ(
            ours.broker_url, choreography, management, production=ours.env == "production"
        ).examine()
    yield from pg_settings.server(everywhere)
    for patient in everywhere:
        yield from pg_settings.database(patient)
        yield from roles.strength(patient, [p.role for p in everywhere if p.role != patient.role])
    yield from roles.fences(everywhere)
    yield from _readers(ours)
    yield from pg_settings.clocks(everywhere)
    for patient in patients:
        try:
            yield from _tables(patient, choreography)
        except (
            psycopg2.errors.InsufficientPrivilege,
            ProgrammingError,
        ) as fault:  # SQLAlchemy's, from Alembic
            yield error(
                "tables-closed",
                patient.name,
                f"the role {patient.role} may not read its tables",
                first_line(fault),
                f"Whoever owns them: GRANT {patient.role} …, or migrate with the role that the pools use",
            )


def _reached(ours: Settings, patients: list[Patient], stack: ExitStack) -> Iterator[Finding]:
    """Adds each participant's database that can be reached to ``patients``."""
    for domain in DOMAINS:
        try:
            patients.append(stack.enter_context(Patient(domain, ours.direct_url(domain))))
        except PoolerRefused:
            yield error(
                "database-pooled",
                f"{domain} database",
                "no relay can work behind a connection pooler in transaction mode",
                f"{ours.direct_variable(domain)} leads to one",
                f"Set {PREFIX}{domain.upper()}_DIRECT_URL to the server itself",
            )
        except psycopg2.Error as fault:
            yield _unreachable(f"{domain} database", ours.direct_variable(domain), fault)
    for patient in patients:
        yield from _same_database(ours, patient)


def _same_database(ours: Settings, patient: Patient) -> Iterator[Finding]:
    """A relay carries the outbox that its direct address leads to, so it must be the one that is
    written to.
    """
    domain: Domain = patient.domain  # type: ignore[assignment]
    url = getattr(ours, f"{domain}_database_url")
    if ours.direct_url(domain) == url:
        return
    variable = f"{PREFIX}{domain.upper()}_DATABASE_URL"
    try:
        with closing(connect(url, application_name="doctor")) as connection, connection.cursor() as cursor:
            cursor.execute(WHO)
            database, _, server, _ = cursor.fetchone()
    except psycopg2.Error as fault:
        yield _unreachable(patient.name, variable, fault)
        return
    if (database, server) != (patient.database, patient.server):
        yield error(
            "direct-elsewhere",
            patient.name,
            "its relay carries away another database's outbox",
            f"{ours.direct_variable(domain)} leads to {patient.database} of another server or name than {variable}",
            f"Name the server behind {variable}, and the same database",
        )


def _readers(ours: Settings) -> Iterator[Finding]:
    for domain in DOMAINS:
        if url := getattr(ours, f"{domain}_reader_url", None):
            try:
                with Patient(domain, url) as patient:
                    yield from roles.readers(patient)
            except PoolerRefused:
                yield warning(
                    "reader-pooled",
                    f"{domain} database, for readers",
                    "its rights cannot be examined through a pooler",
                    f"{PREFIX}{domain.upper()}_READER_URL leads to one in transaction mode",
                    "Examine it once with the server's own address in that variable",
                )
            except psycopg2.OperationalError as fault:
                yield _unreachable(
                    f"{domain} database, for readers", f"{PREFIX}{domain.upper()}_READER_URL", fault
                )


def _tables(patient: Patient, choreography: Choreography) -> Iterator[Finding]:
    yield from schema_objects.migrations(patient)
    if schema_objects.furnished(patient):
        yield from schema_objects.guards(patient)
        yield from backlog.obstacles(patient, choreography)
        yield from backlog.waiting(patient, list(choreography.participants))


def _unreachable(where: str, variable: str, fault: psycopg2.Error) -> Finding:
    remedy = (
        f"Start PostgreSQL; {variable} says where it should be, manage.py provision makes database and role"
    )
    return error("database-unreachable", where, "it cannot be reached", first_line(fault), remedy)
