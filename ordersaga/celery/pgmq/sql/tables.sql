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
