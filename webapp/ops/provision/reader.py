"""Provision the role of the admin's pages on stock and ledger, which may only read."""

from __future__ import annotations

from psycopg2 import sql

from webapp.ops.provision.plan import CannotProvision, Plan
from webapp.ops.provision.postgres import (
    Cursor,
    Target,
    connect_as_administrator,
    ensure_password,
    ensure_role,
)

MAY_CONNECT = (
    "SELECT has_database_privilege(%s, %s, 'CONNECT') AND has_schema_privilege(%s, 'public', 'USAGE')"
)
UNREADABLE_TABLES = """
SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'v', 'p') AND relnamespace = 'public'::regnamespace
AND NOT has_table_privilege(%s, oid, 'SELECT')
"""
READS_FUTURE_TABLES = """
SELECT EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) AS a
    WHERE d.defaclrole = %s::regrole AND d.defaclobjtype = 'r'
    AND d.defaclnamespace IN (0, 'public'::regnamespace)
    AND a.grantee = %s::regrole AND a.privilege_type = 'SELECT')
"""
READS_ONLY = """
SELECT EXISTS (SELECT FROM pg_db_role_setting s, unnest(setconfig) AS c
    WHERE s.setrole = %s::regrole AND s.setdatabase = 0 AND c = 'default_transaction_read_only=on')
"""


def ensure_reader(plan: Plan, admin: str, target: Target, owner: Target) -> None:
    """Ensure the reader's role in one domain's database, including privileges on future tables.

    :raises CannotProvision: when its address names another database, or the owner.
    """
    if target.database != owner.database or target.role == owner.role:
        raise CannotProvision(
            f"{target.variable} must name the database of {owner.variable} and a separate role"
        )
    with connect_as_administrator(admin) as cursor:
        there = ensure_role(plan, cursor, target)
        cursor.execute("SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)", [target.database])
        if not there or not cursor.fetchone()[0]:
            return
    with connect_as_administrator(admin, target.database) as cursor:
        _ensure_grants(plan, cursor, target, owner)
        ensure_password(plan, cursor, target)


def _ensure_grants(plan: Plan, cursor: Cursor, target: Target, owner: Target) -> None:
    names = {
        "reader": sql.Identifier(target.role),
        "owner": sql.Identifier(owner.role),
        "database": sql.Identifier(target.database),
    }

    def lacks(what: str, question: str, values: list[str], *statements: str) -> None:
        cursor.execute(question, values)
        if not cursor.fetchone()[0]:
            grants = sql.SQL("; ").join(sql.SQL(each).format(**names) for each in statements)
            plan.ensure(f"{target.role} {what} {target.database}", lambda: cursor.execute(grants))

    lacks(
        "may connect to", MAY_CONNECT, [target.role, target.database, target.role],
        "GRANT CONNECT ON DATABASE {database} TO {reader}", "GRANT USAGE ON SCHEMA public TO {reader}",
    )  # fmt: skip
    lacks("reads the tables of", f"SELECT ({UNREADABLE_TABLES}) = 0", [target.role],
          "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}")  # fmt: skip
    lacks(
        "reads future tables of",
        READS_FUTURE_TABLES,
        [owner.role, target.role],
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {reader}",
    )
    lacks(
        "only reads", READS_ONLY, [target.role], "ALTER ROLE {reader} SET default_transaction_read_only = on"
    )
