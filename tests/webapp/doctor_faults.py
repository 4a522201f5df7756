"""Faults of PostgreSQL, as statements of a superuser that cause and repair them."""

from __future__ import annotations

from dataclasses import dataclass

from ordersaga.ids import new_id
from ordersaga.sql import schema


@dataclass(frozen=True)
class Fault:
    """A fault: the statements of a superuser that cause it in a database, and those that repair it."""

    code: str
    plant: tuple[str, ...]
    heal: tuple[str, ...]
    owner: str = "inventory"
    level: str = "error"


def altered(code: str, what: str, owner: str = "inventory", database: str = "inventory") -> Fault:
    """A changed setting of one database."""
    name = what.split(maxsplit=1)[0]
    return Fault(
        code,
        (f"ALTER DATABASE {{{database}}} SET {what}",),
        (f"ALTER DATABASE {{{database}}} RESET {name}",),
        "payments",
    )


def of_server(code: str, what: str) -> Fault:
    """A changed setting of the server."""
    name = what.split(maxsplit=1)[0]
    return Fault(code, (f"ALTER SYSTEM SET {what}", RELOAD), (f"ALTER SYSTEM RESET {name}", RELOAD))


RELOAD = "SELECT pg_reload_conf()"
SAGA = new_id()
NEW_SAGA = (
    "INSERT INTO ordersaga_saga (id, name, participants, pack_id, deadline_at, attention)"
    f" VALUES ('{SAGA}', 'order', ARRAY['orders'], 1, now(), 'an undo is spent')"
)
LETTER = (
    "INSERT INTO audit_deadletter"
    " (source, key, participant, topic, error, message, traceback, body, digest, headers, attempts)"
    " VALUES ('broker', 'k', 'inventory', 't', 'rejected', '', '', '', '', '{}', 1)"
)
DUE = (
    "INSERT INTO ordersaga_outbox (participant, topic, signals, payload, due_at)"
    " VALUES ('inventory', 'answer', 1, '[]', now() - interval '1 hour')"
)
REFUSED = (
    "INSERT INTO ordersaga_outbox (participant, topic, signals, payload, due_at, fault, refusals)"
    " VALUES ('inventory', 'answer', 1, '[]', now() + interval '1 minute', 'it is no pack', {})"
)
REPLACE = "CREATE OR REPLACE"

IN_POSTGRES = [
    of_server("fsync", "fsync = off"),
    of_server("full-page-writes", "full_page_writes = off"),
    of_server("autovacuum", "autovacuum = off"),
    altered("synchronous-commit", "synchronous_commit = off"),
    altered("default-transaction-isolation", "default_transaction_isolation = 'serializable'"),
    altered("default-transaction-read-only", "default_transaction_read_only = on"),
    altered("lock-timeout", "lock_timeout = '2s'"),
    altered("idle-in-transaction-session-timeout", "idle_in_transaction_session_timeout = '5s'"),
    Fault(
        "session-replication-role",
        ("ALTER ROLE inventory IN DATABASE {inventory} SET session_replication_role = replica",),
        ("ALTER ROLE inventory IN DATABASE {inventory} RESET session_replication_role",),
    ),
    Fault(
        "connection-limit",
        ("ALTER DATABASE {inventory} CONNECTION LIMIT 3",),
        ("ALTER DATABASE {inventory} CONNECTION LIMIT -1",),
    ),
    Fault("role-too-strong", ("ALTER ROLE payments SUPERUSER",), ("ALTER ROLE payments NOSUPERUSER",)),
    Fault("role-too-strong", ("ALTER ROLE payments CREATEDB",), ("ALTER ROLE payments NOCREATEDB",)),
    Fault("role-too-strong", ("ALTER ROLE payments CREATEROLE",), ("ALTER ROLE payments NOCREATEROLE",)),
    Fault(
        "role-member-of", ("GRANT pg_read_all_data TO payments",), ("REVOKE pg_read_all_data FROM payments",)
    ),
    Fault(
        "database-open",
        ("GRANT CONNECT ON DATABASE {inventory} TO PUBLIC",),
        ("REVOKE ALL ON DATABASE {inventory} FROM PUBLIC",),
    ),
    Fault(
        "database-entered",
        ("GRANT CONNECT ON DATABASE {inventory} TO payments",),
        ("REVOKE ALL ON DATABASE {inventory} FROM payments",),
    ),
    Fault(
        "database-of-another",
        ("ALTER DATABASE {inventory} OWNER TO payments", "GRANT ALL ON DATABASE {inventory} TO inventory"),
        ("ALTER DATABASE {inventory} OWNER TO inventory",),
    ),
    Fault(
        "clock-apart",
        (
            "CREATE SCHEMA fast",
            (
                "CREATE FUNCTION fast.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
                " $$ SELECT pg_catalog.clock_timestamp() + interval '1 minute' $$"
            ),
            "GRANT USAGE ON SCHEMA fast TO PUBLIC",
            "ALTER DATABASE {inventory} SET search_path = public, fast, pg_catalog",
        ),
        ("ALTER DATABASE {inventory} RESET search_path", "DROP SCHEMA fast CASCADE"),
    ),
    Fault(
        "trigger-disabled",
        ("ALTER TABLE ordersaga_journal DISABLE TRIGGER ordersaga_journal_moves",),
        ("ALTER TABLE ordersaga_journal ENABLE TRIGGER ordersaga_journal_moves",),
    ),
    Fault(
        "trigger-missing",
        (
            """CREATE TABLE kept AS SELECT pg_get_triggerdef(oid) AS text
               FROM pg_trigger WHERE tgname = 'movement_append_only'""",
            "DROP TRIGGER movement_append_only ON movement",
        ),
        ("DO $$ BEGIN EXECUTE (SELECT text FROM kept); END $$", "DROP TABLE kept"),
    ),
    Fault(
        "function-changed",
        (f"{schema.JOURNAL_MOVES.partition('$$')[0].replace('CREATE', REPLACE)}$$ BEGIN RETURN NEW; END $$",),
        (schema.JOURNAL_MOVES.replace("CREATE", REPLACE),),
    ),
    Fault(
        "constraint-missing",
        ("ALTER TABLE product DROP CONSTRAINT product_nothing_lost",),
        ("ALTER TABLE product ADD CONSTRAINT product_nothing_lost CHECK (on_hand + held + sold = received)",),
    ),
    Fault(
        "index-missing",
        ("DROP INDEX ordersaga_outbox_due",),
        ("CREATE INDEX ordersaga_outbox_due ON ordersaga_outbox (participant, due_at, id)",),
    ),
    Fault(
        "index-missing",
        ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ordersaga_outbox_timer'::regclass",),
        ("UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'ordersaga_outbox_timer'::regclass",),
    ),
    Fault(
        "autovacuum-disabled",
        ("ALTER TABLE ordersaga_outbox SET (autovacuum_enabled = false)",),
        ("ALTER TABLE ordersaga_outbox RESET (autovacuum_enabled)",),
        level="warning",
    ),
    Fault(
        "migrations-missing",
        ("DELETE FROM alembic_version",),
        ("INSERT INTO alembic_version VALUES ((SELECT max(v) FROM kept_version))", "DROP TABLE kept_version"),
    ),
    Fault(
        "migrations-missing",
        ("DELETE FROM django_migrations WHERE app = 'audit' AND name LIKE '0001%'",),
        (
            """INSERT INTO django_migrations (app, name, applied)
               VALUES ('audit', '0001_initial', now())""",
        ),
        owner="orders",
    ),
    Fault(
        "migrations-unknown",
        ("INSERT INTO django_migrations (app, name, applied) VALUES ('audit', '9999_tomorrow', now())",),
        ("DELETE FROM django_migrations WHERE name = '9999_tomorrow'",),
        owner="orders",
        level="warning",
    ),
    Fault(
        "migrations-unknown",
        ("UPDATE alembic_version SET version_num = '9999'",),
        ("UPDATE alembic_version SET version_num = '0001'",),
        owner="payments",
        level="warning",
    ),
    Fault(
        "table-unlogged",
        ("ALTER TABLE ordersaga_outbox SET UNLOGGED",),
        ("ALTER TABLE ordersaga_outbox SET LOGGED",),
    ),
    Fault(
        "participant-absent",
        (NEW_SAGA.replace("'orders'", "'orders', 'loyalty'").replace("'an undo is spent'", "NULL"),),
        ("DELETE FROM ordersaga_saga",),
        owner="orders",
    ),
    Fault(
        "step-paused",
        (
            (
                "INSERT INTO ordersaga_paused_step (step, participant, error, process, probe_at)"
                " VALUES ('inventory.reserve_stock', 'inventory', 'ConnectionError', '1@host', now())"
            ),
        ),
        ("DELETE FROM ordersaga_paused_step",),
    ),
    Fault(
        "database-refuses-writes",
        ("REVOKE INSERT ON ordersaga_pack FROM inventory",),
        ("GRANT INSERT ON ordersaga_pack TO inventory",),
    ),
    Fault("outbox-old", (DUE,), ("DELETE FROM ordersaga_outbox",), level="warning"),
    Fault("outbox-row-refused", (REFUSED.format(3),), ("DELETE FROM ordersaga_outbox",)),
    Fault(
        "outbox-address-refused",
        (REFUSED.format("NULL"),),
        ("DELETE FROM ordersaga_outbox",),
        level="warning",
    ),
    Fault(
        "sagas-need-attention", (NEW_SAGA,), ("DELETE FROM ordersaga_saga",), owner="orders", level="warning"
    ),
    Fault("dead-letters-open", (LETTER,), ("DELETE FROM audit_deadletter",), owner="orders", level="warning"),
]
