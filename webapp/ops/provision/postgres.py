"""A database for each domain, owned by a role that is nobody anywhere else."""

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
from webapp.ops.provision.plan import CannotProvision, Work

Cursor = Any

PUBLIC_MAY_CREATE = """
SELECT EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) AS a
    WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE')
"""
PUBLIC_MAY_ENTER = """
SELECT EXISTS (SELECT FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
    WHERE d.datname = %s AND a.grantee = 0)
"""
ADDRESS = {"host", "hostaddr", "port"}
OTHER = "Both must name the same server; for several servers: --postgres-admin orders=URL --postgres-admin inventory=URL …"
SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"


@dataclass(frozen=True)
class Place:
    """What an address of the settings wants to be there."""

    variable: str
    url: str
    role: str
    password: str
    database: str

    @classmethod
    def of(cls, variable: str, url: str) -> Place:
        """:raises CannotProvision: when the address does not say all of it."""
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
def administrator(url: str, database: str = "") -> Iterator[Cursor]:
    """A cursor in autocommit, in the address's database or another of the same server.

    :raises CannotProvision: when the server does not answer or refuses.
    """
    try:
        there = parse(url) | ({"dbname": database} if database else {})
        connection = connect(connection_string(there), application_name="provision")
    except (psycopg2.Error, InvalidConnectionString) as error:
        raise CannotProvision(
            f"--postgres-admin: {first_line(error)}. Is PostgreSQL running, and is the role right?"
        ) from error
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    except psycopg2.errors.InsufficientPrivilege as error:
        raise CannotProvision(
            f"--postgres-admin may not do this: {first_line(error)}. Give a superuser's address."
        ) from error
    finally:
        connection.close()


def database(work: Work, admin: str, place: Place) -> None:
    """The role and its database, closed to all others.

    :param admin: the address of a superuser of the same server.
    """
    with administrator(admin) as cursor:
        cursor.execute("SELECT current_user")
        if cursor.fetchone()[0] == place.role:
            raise CannotProvision(
                f"{place.variable} names the administrator itself; give the domain a role of its own"
            )
        _leads_there(cursor, admin, place)
        there = role(work, cursor, place)
        if there:
            there = _database(work, cursor, place)
        elif not _exists(cursor, "pg_database", "datname", place.database):
            work.need(f"database {place.database}", lambda: None)
    if there:
        with administrator(admin, place.database) as cursor:
            _schema(work, cursor, place)
            password(work, cursor, place)
            _same_server(cursor, place)


def _leads_there(cursor: Cursor, admin: str, place: Place) -> None:
    """Before anything is made: that the settings name the administrator's server, as far as the administrator
    is let in there.

    :raises CannotProvision: when nobody answers there, or another server.
    """
    there = {name: value for name, value in parse(admin).items() if name not in ADDRESS}
    there |= {name: value for name, value in parse(place.url).items() if name in ADDRESS}
    try:
        connection = connect(connection_string(there))
    except psycopg2.OperationalError as error:
        if "FATAL" in str(
            error
        ):  # a server answers, and does not know this administrator or has no such door
            return
        raise CannotProvision(f"{place.variable}: {first_line(error)}. {OTHER}") from error
    try:
        with connection.cursor() as answering:
            _compare(cursor, answering, place)
    finally:
        connection.close()


def role(work: Work, cursor: Cursor, place: Place) -> bool:
    """A role that may log in and nothing else. Whether it is there now."""
    name = sql.Identifier(place.role)
    if not _exists(cursor, "pg_roles", "rolname", place.role):
        make = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(place.password or None))
        return work.need(f"role {place.role}", lambda: cursor.execute(make))
    columns = ", ".join([*ATTRIBUTES, "rolcanlogin"])
    cursor.execute(f"SELECT {columns} FROM pg_roles WHERE rolname = %s", [place.role])  # noqa: S608
    *strong, may_log_in = cursor.fetchone()
    wrong = [f"NO{word}" for word, has in zip(ATTRIBUTES.values(), strong, strict=True) if has]
    wrong += [] if may_log_in else ["LOGIN"]
    if wrong:
        alter = sql.SQL("ALTER ROLE {} " + " ".join(wrong)).format(name)
        work.need(f"role {place.role} {' '.join(wrong)}", lambda: cursor.execute(alter))
    return True


def _database(work: Work, cursor: Cursor, place: Place) -> bool:
    names = {"database": sql.Identifier(place.database), "role": sql.Identifier(place.role)}
    there = _exists(cursor, "pg_database", "datname", place.database)
    if not there:
        make = sql.SQL("CREATE DATABASE {database} OWNER {role} ENCODING 'UTF8' TEMPLATE template0").format(
            **names
        )
        there = work.need(f"database {place.database}", lambda: cursor.execute(make))
    if not there:
        return False
    cursor.execute(
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding) FROM pg_database WHERE datname = %s",
        [place.database],
    )
    owner, encoding = cursor.fetchone()
    if encoding != "UTF8":
        raise CannotProvision(
            f"Database {place.database} is encoded in {encoding}; drop it, or name another: UTF8 is needed"
        )
    if owner != place.role:
        give = sql.SQL("ALTER DATABASE {database} OWNER TO {role}").format(**names)
        work.need(
            f"database {place.database} owned by {place.role} (not {owner})", lambda: cursor.execute(give)
        )
    cursor.execute(PUBLIC_MAY_ENTER, [place.database])
    if cursor.fetchone()[0]:
        close = sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names)
        work.need(f"database {place.database} closed to others", lambda: cursor.execute(close))
    return True


def _schema(work: Work, cursor: Cursor, place: Place) -> None:
    """The schema belongs to the role, so that nobody else may put anything in its way."""
    cursor.execute("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'")
    [owner] = cursor.fetchone() or [None]
    if owner != place.role:
        give = sql.SQL(
            "ALTER SCHEMA public OWNER TO {0}" if owner else "CREATE SCHEMA public AUTHORIZATION {0}"
        )
        work.need(
            f"schema public of {place.database} owned by {place.role}",
            lambda: cursor.execute(give.format(sql.Identifier(place.role))),
        )
    cursor.execute(PUBLIC_MAY_CREATE)
    if cursor.fetchone()[0]:
        close = "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        work.need(f"schema public of {place.database} closed to others", lambda: cursor.execute(close))


def password(work: Work, cursor: Cursor, place: Place) -> None:
    """The role comes in with the password of the settings, which is set when it does not."""
    try:
        connect(place.url).close()
    except psycopg2.OperationalError as error:
        if "authentication failed" not in str(error) and "no password" not in str(error):
            raise CannotProvision(f"{place.variable}: {first_line(error)}") from error
        alter = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(place.role), sql.Literal(place.password)
        )
        if work.need(f"password of role {place.role}", lambda: cursor.execute(alter)):
            try:
                connect(place.url).close()
            except psycopg2.OperationalError as again:
                raise CannotProvision(
                    f"{place.variable}: {first_line(again)}; see pg_hba.conf of that server"
                ) from again


def _same_server(cursor: Cursor, place: Place) -> None:
    """The same, once the role itself may come in."""
    try:
        connection = connect(place.url)
    except psycopg2.OperationalError:  # a dry run, and the password is still to be set
        return
    try:
        with connection.cursor() as answering:
            _compare(cursor, answering, place)
    finally:
        connection.close()


def _compare(admins: Cursor, theirs: Cursor, place: Place) -> None:
    found = []
    for cursor in (admins, theirs):
        cursor.execute(SYSTEM)
        found += cursor.fetchone()
    if len(set(found)) > 1:
        raise CannotProvision(f"--postgres-admin leads to another server than {place.variable}. {OTHER}")


def _exists(cursor: Cursor, table: str, column: str, name: str) -> bool:
    cursor.execute(f"SELECT EXISTS (SELECT FROM {table} WHERE {column} = %s)", [name])  # noqa: S608 - catalogues, by us
    return bool(cursor.fetchone()[0])
