CREATE OR REPLACE FUNCTION ordersaga_broker.lock_topology() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('ordersaga_broker topology', 0));
$$;

-- The shared advisory lock of a consumer's listening session, while it consumes the queue.
CREATE OR REPLACE FUNCTION ordersaga_broker.consumer_key(p_queue text) RETURNS bigint LANGUAGE sql AS $$
    SELECT hashtextextended('ordersaga_broker queue ' || p_queue, 0);
$$;

-- Null: it is declared. Otherwise the stored property that differs: its kind or, if one is given, its alternate.
DROP FUNCTION IF EXISTS ordersaga_broker.declare_exchange(text, text, boolean, text);  -- of an earlier type
CREATE FUNCTION ordersaga_broker.declare_exchange(p_name text, p_kind text, p_given boolean, p_alternate text)
RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    e ordersaga_broker.exchange;
BEGIN
    SELECT * INTO e FROM ordersaga_broker.exchange WHERE name = p_name;
    IF NOT FOUND OR p_given AND e.kind = p_kind AND e.alternate IS NULL AND p_alternate IS NOT NULL THEN
        PERFORM ordersaga_broker.lock_topology();
        INSERT INTO ordersaga_broker.exchange AS x VALUES (p_name, p_kind, p_alternate)
        ON CONFLICT (name) DO UPDATE SET alternate = excluded.alternate WHERE p_given AND x.alternate IS NULL;
        SELECT * INTO e FROM ordersaga_broker.exchange WHERE name = p_name;
    END IF;
    RETURN CASE
        WHEN e.kind <> p_kind THEN ARRAY['type', e.kind, p_kind]
        WHEN p_given AND e.alternate IS DISTINCT FROM p_alternate
            THEN ARRAY['alternate-exchange', coalesce(e.alternate, 'none'), coalesce(p_alternate, 'none')] END;
END $$;

-- Without arguments, the stored dead-letter exchange and limit are kept.
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

-- False: the exchange does not exist.
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

-- Drops transient queues whose consumers were killed, a minute after their declaration or later.
CREATE OR REPLACE FUNCTION ordersaga_broker.sweep() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    n text;
BEGIN
    FOR n IN SELECT name FROM ordersaga_broker.queue WHERE transient AND declared_at < now() - interval '1 minute' LOOP
        PERFORM ordersaga_broker.drop_unused(n);
    END LOOP;
END $$;
