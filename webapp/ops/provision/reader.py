"""The role of the web's pages on stock and ledger: it reads two databases and changes nothing anywhere."""

from __future__ import annotations

from psycopg2 import sql

from webapp.ops.provision.plan import CannotProvision, Work
from webapp.ops.provision.postgres import Cursor, Place, administrator, password, role

MAY_ENTER = "SELECT has_database_privilege(%s, %s, 'CONNECT') AND has_schema_privilege(%s, 'public', 'USAGE')"
UNREADABLE = """
SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'v', 'p') AND relnamespace = 'public'::regnamespace
AND NOT has_table_privilege(%s, oid, 'SELECT')
"""
FUTURE = """
SELECT EXISTS (SELECT FROM pg_default_acl d, aclexplode(d.defaclacl) AS a
    WHERE d.defaclrole = %s::regrole AND d.defaclobjtype = 'r' AND d.defaclnamespace IN (0, 'public'::regnamespace)
    AND a.grantee = %s::regrole AND a.privilege_type = 'SELECT')
"""
READS_ONLY = """
SELECT EXISTS (SELECT FROM pg_db_role_setting s, unnest(setconfig) AS c
    WHERE s.setrole = %s::regrole AND s.setdatabase = 0 AND c = 'default_transaction_read_only=on')
"""


def reader(work: Work, admin: str, place: Place, owner: Place) -> None:
    """The reader at one domain's database, made ready for tables to come, too.

    :raises CannotProvision: when its address leads elsewhere, or names the owner.
    """
    if place.database != owner.database or place.role == owner.role:
        raise CannotProvision(
            f"{place.variable} must name the database of {owner.variable}, and a role of its own"
        )
    with administrator(admin) as cursor:
        there = role(work, cursor, place)
        cursor.execute("SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)", [place.database])
        if not there or not cursor.fetchone()[0]:
            return
    with administrator(admin, place.database) as cursor:
        _grants(work, cursor, place, owner)
        password(work, cursor, place)


def _grants(work: Work, cursor: Cursor, place: Place, owner: Place) -> None:
    names = {
        "reader": sql.Identifier(place.role),
        "owner": sql.Identifier(owner.role),
        "database": sql.Identifier(place.database),
    }

    def lacks(what: str, question: str, values: list[str], *statements: str) -> None:
        cursor.execute(question, values)
        if not cursor.fetchone()[0]:
            grants = sql.SQL("; ").join(sql.SQL(each).format(**names) for each in statements)
            work.need(f"{place.role} {what} {place.database}", lambda: cursor.execute(grants))

    lacks(
        "may enter", MAY_ENTER, [place.role, place.database, place.role],
        "GRANT CONNECT ON DATABASE {database} TO {reader}", "GRANT USAGE ON SCHEMA public TO {reader}",
    )  # fmt: skip
    lacks("reads the tables of", f"SELECT ({UNREADABLE}) = 0", [place.role],
          "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}")  # fmt: skip
    lacks(
        "reads the tables to come in",
        FUTURE,
        [owner.role, place.role],
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {reader}",
    )
    lacks(
        "only reads", READS_ONLY, [place.role], "ALTER ROLE {reader} SET default_transaction_read_only = on"
    )
