"""The broker's own tables and functions, beside PGMQ's: every statement that moves a message is one of these functions.

Each function is one transaction (the connection commits by itself). Publishing is durable before it returns. Taking,
acknowledging and keeping need not be: what a power cut undoes there is delivered once more, which the journal absorbs.
So these spare themselves the wait for the disk.
"""

from __future__ import annotations

import hashlib
from typing import Any

from pgmq.install import get_embedded_install_sql
from psycopg import Connection, errors

TABLES = """
CREATE SCHEMA IF NOT EXISTS ordersaga_broker;

CREATE TABLE IF NOT EXISTS ordersaga_broker.installed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    stamp    text NOT NULL
);

CREATE TABLE IF NOT EXISTS ordersaga_broker.exchange (
    name      text PRIMARY KEY CHECK (name <> ''),  -- '' is the default exchange: every queue by its name
    kind      text NOT NULL CHECK (kind IN ('direct', 'topic', 'fanout')),
    alternate text                                  -- hears what no queue of this exchange hears
);

CREATE TABLE IF NOT EXISTS ordersaga_broker.queue (
    name           text PRIMARY KEY,
    table_name     text NOT NULL UNIQUE CHECK (table_name ~ '^[a-z0-9_]{1,47}$'),
    delivery_limit integer CHECK (delivery_limit > 0),
    dead_exchange  text,
    dead_key       text,                            -- null: the message's own routing key
    transient      boolean NOT NULL,                -- ends with its last consumer
    declared_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS ordersaga_broker.binding (
    exchange text NOT NULL REFERENCES ordersaga_broker.exchange (name) ON DELETE CASCADE,
    queue    text NOT NULL REFERENCES ordersaga_broker.queue (name) ON DELETE CASCADE,
    key      text NOT NULL,
    regex    text,                                  -- null: the key is meant literally
    PRIMARY KEY (exchange, queue, key)
);
CREATE INDEX IF NOT EXISTS binding_queue ON ordersaga_broker.binding (queue);
"""

ROUTING = """
CREATE OR REPLACE FUNCTION ordersaga_broker.put(p_table text, p_message jsonb, p_delay integer)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pgmq.send(p_table, p_message, p_delay);
    PERFORM pg_notify('broker.' || p_table, '');
END $$;

-- How many queues heard it; -1: there is no such exchange.
CREATE OR REPLACE FUNCTION ordersaga_broker.route(p_exchange text, p_key text, p_message jsonb, p_delay integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    e     ordersaga_broker.exchange;
    t     text;
    heard integer := 0;
BEGIN
    IF p_exchange = '' THEN
        SELECT table_name INTO t FROM ordersaga_broker.queue WHERE name = p_key;
        IF NOT FOUND THEN RETURN 0; END IF;
        PERFORM ordersaga_broker.put(t, p_message, p_delay);
        RETURN 1;
    END IF;
    FOR hops IN 1..5 LOOP  -- alternates of alternates may form a ring
        SELECT * INTO e FROM ordersaga_broker.exchange WHERE name = p_exchange;
        IF NOT FOUND THEN RETURN CASE hops WHEN 1 THEN -1 ELSE 0 END; END IF;
        FOR t IN
            SELECT DISTINCT q.table_name  -- a queue that is bound twice hears once
            FROM ordersaga_broker.binding b JOIN ordersaga_broker.queue q ON q.name = b.queue
            WHERE b.exchange = p_exchange AND CASE
                WHEN e.kind = 'fanout' THEN true
                WHEN b.regex IS NULL THEN b.key = p_key
                ELSE p_key || '.' ~ b.regex END
            ORDER BY 1
        LOOP
            PERFORM ordersaga_broker.put(t, p_message, p_delay);
            heard := heard + 1;
        END LOOP;
        EXIT WHEN heard > 0 OR e.alternate IS NULL;
        p_exchange := e.alternate;
    END LOOP;
    RETURN heard;
END $$;

CREATE OR REPLACE FUNCTION ordersaga_broker.publish(
    p_exchange text, p_key text, p_message jsonb, p_delay integer, p_durable boolean
) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    IF NOT p_durable THEN PERFORM set_config('synchronous_commit', 'off', true); END IF;
    RETURN ordersaga_broker.route(p_exchange, p_key, p_message, p_delay);
END $$;
"""

DELIVERY = """
-- To the dead letters, in this transaction; false: another consumer has the message by now, or nobody hears dead letters.
CREATE OR REPLACE FUNCTION ordersaga_broker.bury(p_table text, p_id bigint, p_read integer, p_reason text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    q     ordersaga_broker.queue;
    m     jsonb;
    dead  jsonb;
    key   text;
    heard integer;
BEGIN
    SELECT * INTO q FROM ordersaga_broker.queue WHERE table_name = p_table;
    EXECUTE format('SELECT message FROM pgmq.%I WHERE msg_id = $1 AND read_ct = $2 FOR UPDATE', 'q_' || p_table)
        INTO m USING p_id, p_read;
    IF m IS NULL THEN RETURN false; END IF;
    IF q.dead_exchange IS NOT NULL THEN
        dead := coalesce(nullif(m -> 'headers', 'null'), '{}');
        dead := jsonb_build_object(
            'x-first-death-queue', q.name,
            'x-first-death-reason', p_reason,
            'x-first-death-exchange', m #> '{properties,delivery_info,exchange}'
        ) || dead || jsonb_build_object('x-death', jsonb_build_array(jsonb_build_object(
            'queue', q.name,
            'reason', p_reason,
            'count', 1,
            'exchange', m #> '{properties,delivery_info,exchange}',
            'routing-keys', jsonb_build_array(m #> '{properties,delivery_info,routing_key}'),
            'time', to_jsonb(extract(epoch FROM now())::bigint)
        )) || coalesce(dead -> 'x-death', '[]'));
        key := coalesce(q.dead_key, m #>> '{properties,delivery_info,routing_key}', '');
        m := jsonb_set(m, '{headers}', dead);
        m := jsonb_set(m, '{properties,delivery_info}', coalesce(m #> '{properties,delivery_info}', '{}')
            || jsonb_build_object('exchange', q.dead_exchange, 'routing_key', key));
        heard := ordersaga_broker.route(q.dead_exchange, key, m, 0);
        IF heard < 1 THEN  -- kept, as RabbitMQ's at-least-once dead lettering does: tried again when next visible
            RAISE WARNING 'nobody hears the dead letters of queue %: exchange %, key %', q.name, q.dead_exchange, key;
            RETURN false;
        END IF;
    END IF;
    PERFORM pgmq.delete(p_table, p_id);
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION ordersaga_broker.take(p_table text, p_visibility integer, p_quantity integer)
RETURNS TABLE (msg_id bigint, read_ct integer, message text) LANGUAGE plpgsql AS $$
DECLARE
    allowed integer := (SELECT delivery_limit + 1 FROM ordersaga_broker.queue WHERE table_name = p_table);
    r       pgmq.message_record;
    wanted  integer := p_quantity;
    spent   boolean;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    LOOP
        spent := false;
        FOR r IN SELECT * FROM pgmq.read(p_table, p_visibility, wanted) x ORDER BY x.msg_id LOOP
            IF r.read_ct > allowed THEN  -- never true without a limit: it is null then
                PERFORM ordersaga_broker.bury(p_table, r.msg_id, r.read_ct, 'delivery_limit');
                spent := true;
            ELSE
                msg_id := r.msg_id; read_ct := r.read_ct; message := r.message::text;
                wanted := wanted - 1;
                RETURN NEXT;
            END IF;
        END LOOP;
        EXIT WHEN wanted = 0 OR NOT spent;
    END LOOP;
END $$;

-- Taken and acknowledged in one.
CREATE OR REPLACE FUNCTION ordersaga_broker.pop(p_table text, p_quantity integer)
RETURNS TABLE (msg_id bigint, read_ct integer, message text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN QUERY SELECT x.msg_id, x.read_ct + 1, x.message::text FROM pgmq.pop(p_table, p_quantity) x ORDER BY 1;
END $$;

-- Whoever has done the work may delete the message, even if it was given to another meanwhile.
CREATE OR REPLACE FUNCTION ordersaga_broker.acknowledge(p_table text, p_id bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN pgmq.delete(p_table, p_id);
END $$;

-- Back at its place, to be delivered at once; false: another consumer has it by now, or it was buried.
CREATE OR REPLACE FUNCTION ordersaga_broker.give_back(p_table text, p_id bigint, p_read integer)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    IF p_read > (SELECT delivery_limit FROM ordersaga_broker.queue WHERE table_name = p_table) THEN
        PERFORM ordersaga_broker.bury(p_table, p_id, p_read, 'delivery_limit');
        RETURN false;
    END IF;
    EXECUTE format('UPDATE pgmq.%I SET vt = clock_timestamp() WHERE msg_id = $1 AND read_ct = $2', 'q_' || p_table)
        USING p_id, p_read;
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM pg_notify('broker.' || p_table, '');
    RETURN n > 0;
END $$;

-- How many are still this consumer's, and now for p_visibility seconds more.
CREATE OR REPLACE FUNCTION ordersaga_broker.keep(p_table text, p_ids bigint[], p_reads integer[], p_visibility integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    EXECUTE format('UPDATE pgmq.%I q SET vt = clock_timestamp() + make_interval(secs => $3)
        FROM unnest($1, $2) AS held (id, read_ct) WHERE q.msg_id = held.id AND q.read_ct = held.read_ct', 'q_' || p_table)
        USING p_ids, p_reads, p_visibility;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;
"""

DECLARING = """
CREATE OR REPLACE FUNCTION ordersaga_broker.lock_topology() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('ordersaga_broker topology', 0));
$$;

-- A consumer's listening session holds this key, shared, while it consumes the queue.
CREATE OR REPLACE FUNCTION ordersaga_broker.consumer_key(p_queue text) RETURNS bigint LANGUAGE sql AS $$
    SELECT hashtextextended('ordersaga_broker queue ' || p_queue, 0);
$$;

-- False: it is known as another kind. Without arguments, what is known of the alternate stays.
CREATE OR REPLACE FUNCTION ordersaga_broker.declare_exchange(p_name text, p_kind text, p_given boolean, p_alternate text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    e ordersaga_broker.exchange;
BEGIN
    SELECT * INTO e FROM ordersaga_broker.exchange WHERE name = p_name;
    IF FOUND AND (e.kind <> p_kind OR NOT p_given OR e.alternate IS NOT DISTINCT FROM p_alternate) THEN
        RETURN e.kind = p_kind;
    END IF;
    PERFORM ordersaga_broker.lock_topology();
    INSERT INTO ordersaga_broker.exchange VALUES (p_name, p_kind, p_alternate)
    ON CONFLICT (name) DO UPDATE SET alternate = excluded.alternate WHERE p_given;
    RETURN true;
END $$;

-- Without arguments, what is known of dead letters and limit stays.
CREATE OR REPLACE FUNCTION ordersaga_broker.declare_queue(
    p_name text, p_table text, p_transient boolean, p_given boolean, p_limit integer, p_exchange text, p_key text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    q ordersaga_broker.queue;
BEGIN
    IF p_transient THEN PERFORM ordersaga_broker.sweep(); END IF;
    UPDATE ordersaga_broker.queue SET declared_at = now() WHERE name = p_name AND transient;
    SELECT * INTO q FROM ordersaga_broker.queue WHERE name = p_name;
    IF FOUND AND (NOT p_given OR (q.delivery_limit, q.dead_exchange, q.dead_key)
                                 IS NOT DISTINCT FROM (p_limit, p_exchange, p_key)) THEN
        RETURN;
    END IF;
    PERFORM ordersaga_broker.lock_topology();
    IF p_transient THEN PERFORM pgmq.create_unlogged(p_table); ELSE PERFORM pgmq.create(p_table); END IF;
    INSERT INTO ordersaga_broker.queue VALUES (p_name, p_table, p_limit, p_exchange, p_key, p_transient)
    ON CONFLICT (name) DO UPDATE SET delivery_limit = excluded.delivery_limit, dead_exchange = excluded.dead_exchange,
        dead_key = excluded.dead_key WHERE p_given;
END $$;

-- False: there is no such exchange.
CREATE OR REPLACE FUNCTION ordersaga_broker.bind(p_exchange text, p_queue text, p_key text, p_regex text)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM ordersaga_broker.binding WHERE (exchange, queue, key) = (p_exchange, p_queue, p_key)) THEN
        RETURN true;
    END IF;
    INSERT INTO ordersaga_broker.binding
    SELECT p_exchange, p_queue, p_key, CASE e.kind WHEN 'topic' THEN p_regex END
    FROM ordersaga_broker.exchange e WHERE e.name = p_exchange
    ON CONFLICT DO NOTHING;
    RETURN EXISTS (SELECT FROM ordersaga_broker.exchange WHERE name = p_exchange);
END $$;

CREATE OR REPLACE FUNCTION ordersaga_broker.drop_queue(p_name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t text;
BEGIN
    PERFORM ordersaga_broker.lock_topology();
    DELETE FROM ordersaga_broker.queue WHERE name = p_name RETURNING table_name INTO t;
    IF FOUND THEN PERFORM pgmq.drop_queue(t); END IF;
END $$;

CREATE OR REPLACE FUNCTION ordersaga_broker.drop_unused(p_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM ordersaga_broker.queue WHERE name = p_name AND transient)
       AND pg_try_advisory_xact_lock(ordersaga_broker.consumer_key(p_name)) THEN
        PERFORM ordersaga_broker.drop_queue(p_name);
    END IF;
END $$;

-- Transient queues whose consumers were killed. A minute's grace: a queue is declared before it is consumed.
CREATE OR REPLACE FUNCTION ordersaga_broker.sweep() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    n text;
BEGIN
    FOR n IN SELECT name FROM ordersaga_broker.queue WHERE transient AND declared_at < now() - interval '1 minute' LOOP
        PERFORM ordersaga_broker.drop_unused(n);
    END LOOP;
END $$;
"""

SQL = TABLES + ROUTING + DELIVERY + DECLARING
STAMP = hashlib.sha256(SQL.encode()).hexdigest()[:16]


def ensure_schema(connection: Connection[Any]) -> None:
    """Install PGMQ's SQL and ours, unless they stand; any number of processes may start at once.

    Upstream: needs ``CREATE EXTENSION``; the wheel's own SQL script fails when it is run a second time.
    """
    if _stamp(connection) == STAMP:
        return
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = '60s'")
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('ordersaga_broker install', 0))")
        standing = connection.execute("SELECT to_regtype('pgmq.message_record') IS NOT NULL").fetchone()
        if standing is None or not standing[0]:
            connection.execute(get_embedded_install_sql())  # type: ignore[arg-type]  # a script, not a literal
        connection.execute(SQL)  # type: ignore[arg-type]  # as above
        connection.execute(
            "INSERT INTO ordersaga_broker.installed (stamp) VALUES (%s)"
            " ON CONFLICT (only_row) DO UPDATE SET stamp = excluded.stamp",
            [STAMP],
        )


def _stamp(connection: Connection[Any]) -> str | None:
    try:
        row = connection.execute("SELECT stamp FROM ordersaga_broker.installed").fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return None
    return row[0] if row else None
