"""Provision a database for each domain, and a role that has access only to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

from ordersaga.conninfo import connection_string, parse
from ordersaga.database import first_line
from ordersaga.errors import InvalidConnectionString
from ordersaga.sessions import connect
from webapp.ops.doctor.roles import ATTRIBUTES
from webapp.ops.provision.plan import CannotProvision, Plan

Cursor = Any

PUBLIC_MAY_CREATE = """
SELECT EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) AS a
    WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE')
"""
PUBLIC_MAY_CONNECT = """
SELECT EXISTS (SELECT FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
    WHERE d.datname = %s AND a.grantee = 0)
"""
ADDRESS_OPTIONS = {"host", "hostaddr", "port"}
SAME_SERVER_REMEDY = (
    "Both must name the same server; for several servers: --postgres-admin orders=URL "
    "--postgres-admin inventory=URL …"
)
SERVER_ID = "SELECT system_identifier::text FROM pg_control_system()"


@dataclass(frozen=True)
class Target:
    """The role and database that an address of the settings names."""

    variable: str
    url: str
    role: str
    password: str
    database: str

    @classmethod
    def of(cls, variable: str, url: str) -> Target:
        """:raises CannotProvision: when the address lacks a role or a database."""
        try:
            given = parse(url)
        except InvalidConnectionString as error:
            raise CannotProvision(f"{variable}: {error}") from error
        if not given.get("user") or not given.get("dbname"):
            raise CannotProvision(
                f"{variable} must name a role and a database: postgresql://role:password@host:5432/database"
            )
        return cls(variable, url, given["user"], given.get("password", ""), given["dbname"])


@contextmanager
def connect_as_administrator(url: str, database: str = "") -> Iterator[Cursor]:
    """Yield a cursor in autocommit mode, in the address's database or another one of its server.

    :raises CannotProvision: when the server does not answer, or the role lacks privileges.
    """
    try:
        there = parse(url) | ({"dbname": database} if database else {})
        connection = connect(connection_string(there), application_name="provision")
    except (psycopg2.Error, InvalidConnectionString) as error:
        raise CannotProvision(
            f"--postgres-admin: {first_line(error)}. Check that PostgreSQL is running, and the role."
        ) from error
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    except psycopg2.errors.InsufficientPrivilege as error:
        raise CannotProvision(
            f"--postgres-admin lacks privileges: {first_line(error)}. Use the address of a superuser."
        ) from error
    finally:
        connection.close()


def ensure_database(plan: Plan, admin: str, target: Target) -> None:
    """Ensure the role and its database, to which no other role may connect.

    :param admin: the address of a superuser of the same server.
    """
    with connect_as_administrator(admin) as cursor:
        cursor.execute("SELECT current_user")
        if cursor.fetchone()[0] == target.role:
            raise CannotProvision(
                f"{target.variable} names the administrator itself; use a separate role for the domain"
            )
        _require_server_of_settings(cursor, admin, target)
        there = ensure_role(plan, cursor, target)
        if there:
            there = _ensure_database(plan, cursor, target)
        elif not _exists(cursor, "pg_database", "datname", target.database):
            plan.ensure(f"database {target.database}", lambda: None)
    if there:
        with connect_as_administrator(admin, target.database) as cursor:
            _ensure_schema(plan, cursor, target)
            ensure_password(plan, cursor, target)
            _require_same_server(cursor, target)


def _require_server_of_settings(cursor: Cursor, admin: str, target: Target) -> None:
    """Check that the settings name the administrator's server, if the administrator may connect there.

    :raises CannotProvision: when no server answers there, or another one.
    """
    there = {name: value for name, value in parse(admin).items() if name not in ADDRESS_OPTIONS}
    there |= {name: value for name, value in parse(target.url).items() if name in ADDRESS_OPTIONS}
    try:
        connection = connect(connection_string(there))
    except psycopg2.OperationalError as error:
        if "FATAL" in str(error):  # a server answers, but refuses this administrator
            return
        raise CannotProvision(f"{target.variable}: {first_line(error)}. {SAME_SERVER_REMEDY}") from error
    try:
        with connection.cursor() as answering:
            _compare_servers(cursor, answering, target)
    finally:
        connection.close()


def ensure_role(plan: Plan, cursor: Cursor, target: Target) -> bool:
    """Ensure a role that may log in and has no other attribute; return whether it exists now."""
    name = sql.Identifier(target.role)
    if not _exists(cursor, "pg_roles", "rolname", target.role):
        make = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(target.password or None))
        return plan.ensure(f"role {target.role}", lambda: cursor.execute(make))
    columns = ", ".join([*ATTRIBUTES, "rolcanlogin"])
    cursor.execute(f"SELECT {columns} FROM pg_roles WHERE rolname = %s", [target.role])  # noqa: S608
    *strong, may_log_in = cursor.fetchone()
    wrong = [f"NO{word}" for word, has in zip(ATTRIBUTES.values(), strong, strict=True) if has]
    wrong += [] if may_log_in else ["LOGIN"]
    if wrong:
        alter = sql.SQL("ALTER ROLE {} " + " ".join(wrong)).format(name)
        plan.ensure(f"role {target.role} {' '.join(wrong)}", lambda: cursor.execute(alter))
    return True


def _ensure_database(plan: Plan, cursor: Cursor, target: Target) -> bool:
    names = {"database": sql.Identifier(target.database), "role": sql.Identifier(target.role)}
    there = _exists(cursor, "pg_database", "datname", target.database)
    if not there:
        make = sql.SQL("CREATE DATABASE {database} OWNER {role} ENCODING 'UTF8' TEMPLATE template0").format(
            **names
        )
        there = plan.ensure(f"database {target.database}", lambda: cursor.execute(make))
    if not there:
        return False
    cursor.execute(
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding) FROM pg_database WHERE datname = %s",
        [target.database],
    )
    owner, encoding = cursor.fetchone()
    if encoding != "UTF8":
        raise CannotProvision(
            f"Database {target.database} has the encoding {encoding} instead of UTF8; drop it, or use another"
        )
    if owner != target.role:
        give = sql.SQL("ALTER DATABASE {database} OWNER TO {role}").format(**names)
        plan.ensure(
            f"database {target.database} owned by {target.role} (not {owner})", lambda: cursor.execute(give)
        )
    cursor.execute(PUBLIC_MAY_CONNECT, [target.database])
    if cursor.fetchone()[0]:
        close = sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names)
        plan.ensure(f"database {target.database} not open to PUBLIC", lambda: cursor.execute(close))
    return True


def _ensure_schema(plan: Plan, cursor: Cursor, target: Target) -> None:
    """Ensure that the role owns the schema public, and that no other role may create objects in it."""
    cursor.execute("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'")
    [owner] = cursor.fetchone() or [None]
    if owner != target.role:
        give = sql.SQL(
            "ALTER SCHEMA public OWNER TO {0}" if owner else "CREATE SCHEMA public AUTHORIZATION {0}"
        )
        plan.ensure(
            f"schema public of {target.database} owned by {target.role}",
            lambda: cursor.execute(give.format(sql.Identifier(target.role))),
        )
    cursor.execute(PUBLIC_MAY_CREATE)
    if cursor.fetchone()[0]:
        close = "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        plan.ensure(f"schema public of {target.database} not open to PUBLIC", lambda: cursor.execute(close))


def ensure_password(plan: Plan, cursor: Cursor, target: Target) -> None:
    """Ensure that the role can log in with the password of the settings."""
    try:
        connect(target.url).close()
    except psycopg2.OperationalError as error:
        if "authentication failed" not in str(error) and "no password" not in str(error):
            raise CannotProvision(f"{target.variable}: {first_line(error)}") from error
        alter = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(target.role), sql.Literal(target.password)
        )
        if plan.ensure(f"password of role {target.role}", lambda: cursor.execute(alter)):
            try:
                connect(target.url).close()
            except psycopg2.OperationalError as again:
                raise CannotProvision(
                    f"{target.variable}: {first_line(again)}; check pg_hba.conf of that server"
                ) from again


def _require_same_server(cursor: Cursor, target: Target) -> None:
    """Check as the role that the settings name the administrator's server."""
    try:
        connection = connect(target.url)
    except psycopg2.OperationalError:  # in a dry run the password may still be missing
        return
    try:
        with connection.cursor() as answering:
            _compare_servers(cursor, answering, target)
    finally:
        connection.close()


def _compare_servers(admins: Cursor, theirs: Cursor, target: Target) -> None:
    found = []
    for cursor in (admins, theirs):
        cursor.execute(SERVER_ID)
        found += cursor.fetchone()
    if len(set(found)) > 1:
        raise CannotProvision(
            f"--postgres-admin leads to another server than {target.variable}. {SAME_SERVER_REMEDY}"
        )


def _exists(cursor: Cursor, table: str, column: str, name: str) -> bool:
    cursor.execute(f"SELECT EXISTS (SELECT FROM {table} WHERE {column} = %s)", [name])  # noqa: S608 - constants
    return bool(cursor.fetchone()[0])
