-- Moves the message to the dead letters. False: another consumer has it, or the queue has no dead-letter queue.
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

-- Delivers and acknowledges in one transaction.
CREATE OR REPLACE FUNCTION ordersaga_broker.pop(p_table text, p_quantity integer)
RETURNS TABLE (msg_id bigint, read_ct integer, message text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN QUERY SELECT x.msg_id, x.read_ct + 1, x.message::text FROM pgmq.pop(p_table, p_quantity) x ORDER BY 1;
END $$;

-- A consumer that has finished may delete the message, even if it was delivered to another meanwhile.
CREATE OR REPLACE FUNCTION ordersaga_broker.acknowledge(p_table text, p_id bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN pgmq.delete(p_table, p_id);
END $$;

-- Returns the message to its place; false: another consumer has it, or it is a dead letter.
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

-- Extends the visibility by p_visibility seconds; returns how many messages are still this consumer's.
CREATE OR REPLACE FUNCTION ordersaga_broker.keep(p_table text, p_ids bigint[], p_reads integer[], p_visibility integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    EXECUTE format('UPDATE pgmq.%I q SET vt = clock_timestamp() + make_interval(secs => $3)
        FROM unnest($1, $2) AS held (id, read_ct)
        WHERE q.msg_id = held.id AND q.read_ct = held.read_ct', 'q_' || p_table)
        USING p_ids, p_reads, p_visibility;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;
