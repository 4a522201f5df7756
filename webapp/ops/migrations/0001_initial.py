"""The horizon of pruning, and the trigger that keeps audit events recorded after it.

The horizon only moves forward, and stays at least a week in the past, because a message may be redelivered
for that long.
"""

from django.db import migrations

HORIZON = """
CREATE TABLE ops_horizon (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    forgotten timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO ops_horizon DEFAULT VALUES;

CREATE FUNCTION ops_horizon_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        RAISE EXCEPTION 'the horizon is one row: % refused', TG_OP USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.forgotten < OLD.forgotten OR NEW.forgotten > now() - interval '7 days' THEN
        RAISE EXCEPTION 'the horizon cannot go from % to %', OLD.forgotten, NEW.forgotten USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ops_horizon_moves BEFORE INSERT OR UPDATE OR DELETE ON ops_horizon
    FOR EACH ROW EXECUTE FUNCTION ops_horizon_moves();
CREATE TRIGGER ops_horizon_kept BEFORE TRUNCATE ON ops_horizon
    FOR EACH STATEMENT EXECUTE FUNCTION ops_horizon_moves();
"""  # noqa: E501 - the text of the function is part of the schema
DROP_HORIZON = """
DROP TABLE ops_horizon;
DROP FUNCTION ops_horizon_moves();
"""

KEEP_EVENTS = """
CREATE FUNCTION audit_sagaevent_forgotten() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.heard_at >= (SELECT forgotten FROM ops_horizon) THEN
        RAISE EXCEPTION 'the audit trail keeps what was heard after the horizon: DELETE of event % refused', OLD.event_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER audit_sagaevent_forgotten BEFORE DELETE ON audit_sagaevent
    FOR EACH ROW EXECUTE FUNCTION audit_sagaevent_forgotten();
"""  # noqa: E501 - as above
DROP_KEEP_EVENTS = """
DROP TRIGGER audit_sagaevent_forgotten ON audit_sagaevent;
DROP FUNCTION audit_sagaevent_forgotten();
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("audit", "0001_initial"), ("orders", "0001_initial")]

    operations = [
        migrations.RunSQL([HORIZON], [DROP_HORIZON]),
        migrations.RunSQL([KEEP_EVENTS], [DROP_KEEP_EVENTS]),
    ]
