CREATE OR REPLACE FUNCTION ordersaga_broker.put(p_table text, p_message jsonb, p_delay integer)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pgmq.send(p_table, p_message, p_delay);
    PERFORM pg_notify('broker.' || p_table, '');
END $$;

-- The number of queues that received the message; -1: the exchange does not exist.
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
