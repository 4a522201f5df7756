"""Checks of roles: each has access to its own database and no rights elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from webapp.ops.doctor.database import Database
from webapp.ops.doctor.finding import Finding, error

ATTRIBUTES = {
    "rolsuper": "SUPERUSER",
    "rolcreatedb": "CREATEDB",
    "rolcreaterole": "CREATEROLE",
    "rolbypassrls": "BYPASSRLS",
    "rolreplication": "REPLICATION",
}

# Memberships at any depth.
MEMBERSHIPS = """
WITH RECURSIVE member AS (
    SELECT roleid FROM pg_auth_members WHERE member = (SELECT oid FROM pg_roles WHERE rolname = current_user)
    UNION SELECT m.roleid FROM pg_auth_members m JOIN member ON m.member = member.roleid
)
SELECT r.rolname FROM member JOIN pg_roles r ON r.oid = member.roleid
WHERE r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolname LIKE 'pg\\_%%' OR r.rolname = ANY(%s) ORDER
    BY 1
"""

PUBLIC_MAY_CONNECT = """
SELECT EXISTS (SELECT FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
    WHERE d.datname = current_database() AND a.grantee = 0 AND a.privilege_type = 'CONNECT')
"""

RIGHTS_ELSEWHERE = """
SELECT d.datdba = r.oid, has_database_privilege(r.oid, d.oid, 'CONNECT')
FROM pg_database d, pg_roles r WHERE d.datname = %s AND r.rolname = current_user
"""


def check_role_attributes(database: Database, others: Sequence[str]) -> Iterator[Finding]:
    """Check for attributes and memberships that a role should not have.

    :param others: the roles of other domains.
    """
    role = database.role
    given = database.row(f"SELECT {', '.join(ATTRIBUTES)} FROM pg_roles WHERE rolname = current_user")  # noqa: S608 - our names
    too_much = [word for word, has in zip(ATTRIBUTES.values(), given, strict=True) if has]
    if too_much:
        no = " ".join(f"NO{word}" for word in too_much)
        yield error(
            "role-too-strong", f"role {role}", f"a fault in the {database.domain} pool could affect every "
                                               f"database",
            " ".join(too_much), f"ALTER ROLE {role} {no}",
        )  # fmt: skip
    groups = [name for (name,) in database.rows(MEMBERSHIPS, list(others))]
    if groups and "SUPERUSER" not in too_much:
        yield error(
            "role-member-of",
            f"role {role}",
            "it has the privileges of these roles",
            ", ".join(groups),
            f"REVOKE {', '.join(groups)} FROM {role}",
        )


def check_isolation(databases: Sequence[Database]) -> Iterator[Finding]:
    """Check that domains share no database or role, and that no role may connect to another's database."""
    neighbours = [(one, other) for one, other in combinations(databases, 2) if one.server == other.server]
    for one, other in neighbours:
        if one.dbname == other.dbname:
            yield _shared_finding("database-shared", "database", one, other, one.dbname)
        elif one.role == other.role:
            yield _shared_finding("role-shared", "role", one, other, one.role)
    for database in databases:
        if database.one(PUBLIC_MAY_CONNECT):
            yield error(
                "database-open", database.name, "every role may connect to it", "PUBLIC has CONNECT",
                f"REVOKE ALL ON DATABASE {database.dbname} FROM PUBLIC",
            )  # fmt: skip
    for one, other in neighbours:
        if one.dbname != other.dbname and one.role != other.role:
            yield from _check_foreign_access(one, other)
            yield from _check_foreign_access(other, one)


MAY_WRITE = """
SELECT string_agg(DISTINCT relname, ', ' ORDER BY relname) FROM pg_class
WHERE relkind IN ('r', 'v', 'p') AND relnamespace = current_schema()::regnamespace
AND has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
"""


def check_reader_role(database: Database) -> Iterator[Finding]:
    """Check that the role of the admin's pages may only read another domain's database."""
    yield from check_role_attributes(database, [])
    if tables := database.one(MAY_WRITE):
        yield error(
            "reader-may-write", f"role {database.role}", f"it may write to the {database.name}", tables,
            f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {database.role}; then: manage.py provision",
        )  # fmt: skip


def _check_foreign_access(one: Database, other: Database) -> Iterator[Finding]:
    owns, enters = one.row(RIGHTS_ELSEWHERE, other.dbname)
    if one.one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") or other.one(PUBLIC_MAY_CONNECT):
        return  # reported separately
    if owns:
        yield error(
            "database-of-another",
            f"role {one.role}",
            f"it owns the {other.name}",
            f"{other.dbname} belongs to {one.role}",
            f"ALTER DATABASE {other.dbname} OWNER TO {other.role}",
        )
    elif enters:
        yield error(
            "database-entered",
            f"role {one.role}",
            f"it may connect to the {other.name}",
            f"CONNECT on {other.dbname}",
            f"REVOKE ALL ON DATABASE {other.dbname} FROM {one.role}",
        )


def _shared_finding(code: str, what: str, one: Database, other: Database, name: str) -> Finding:
    return error(
        code, f"{one.domain} and {other.domain}", f"two participants share one {what}", name,
        "Give each domain a separate database and role: manage.py provision",
    )  # fmt: skip
