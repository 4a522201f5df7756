"""The doctor reads the running servers and says what is not as it should be.

==================  =========================================================================================
``database``         one database, read over one connection
``servers``         PostgreSQL's settings: is a commit kept, a lock waited for, a trigger fired
``roles``           each owns its own database and is nobody anywhere else
``clocks``          the databases' against this host's
``migrations``      whether each database is as new as this program
``guards``          constraints, triggers and indexes, against a record of freshly migrated databases
``waiting``         what waits for a person
``rabbitmq pgmq``   the broker: queues, their arguments, bindings
``configuration``   the settings themselves
``examination``     all of it, in order
``report``          for people, and as JSON
==================  =========================================================================================
"""

from webapp.ops.doctor.finding import Finding
from webapp.ops.doctor.run import examine

__all__ = ["Finding", "examine"]
