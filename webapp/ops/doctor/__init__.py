"""The doctor checks the running servers and reports findings, each with evidence and a remedy.

==================  ==============================================================================
``configuration``   the settings of this process
``database``        one read-only connection to a database
``pg_settings``     PostgreSQL's settings, connections and clocks
``roles``           each role has access to its own database only
``schema_objects``  migrations, constraints, triggers and indexes
``backlog``         overdue outboxes, dead letters, paused steps, refused writes
``rabbitmq pgmq``   the broker: exchanges, queues, bindings
``queues``          shared by both brokers
``finding``         a finding, printed and as JSON
``run``             all checks in their order
==================  ==============================================================================
"""

from webapp.ops.doctor.finding import Finding
from webapp.ops.doctor.run import examine

__all__ = ["Finding", "examine"]
