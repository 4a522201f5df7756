"""Statements on paused steps. The row's lock lets one process probe at a time."""

# xmax is 0 in a row that this statement has inserted.
PAUSE = """
INSERT INTO ordersaga_paused_step (step, participant, error, process, probe_at)
VALUES (%s, %s, %s, %s, clock_timestamp() + interval '1 second')
ON CONFLICT (step) DO UPDATE SET error = excluded.error, process = excluded.process
RETURNING xmax = 0, greatest(probe_at - clock_timestamp(), interval '0')
"""

# The next probe is due after 1, 2, 4 … 30 seconds.
PROBE = """
UPDATE ordersaga_paused_step SET probes = probes + 1, probe_at = clock_timestamp()
    + least(interval '1 second' * 2 ^ least(probes + 1, 10), interval '30 seconds')
WHERE step = %s AND probe_at <= clock_timestamp()
RETURNING greatest(probe_at - clock_timestamp(), interval '0')
"""

WAIT = (
    "SELECT greatest(probe_at - clock_timestamp(), interval '0') FROM ordersaga_paused_step WHERE step = %s"
)

RESUME = "DELETE FROM ordersaga_paused_step WHERE step = %s RETURNING step"

RELEASE = """
UPDATE ordersaga_outbox SET due_at = clock_timestamp()
WHERE participant = %s AND kind = 'paused' AND topic = %s AND due_at > clock_timestamp()
"""
