"""Reconcile compares the three databases; it shares no code with the engine or the participants.

=================  =================================================================================
``snapshots``      the databases, each read in one snapshot
``sql``            one row of facts per saga from each database
``saga_facts``     the three rows of one saga
``rules``          what must hold for one saga
``totals``         what must hold for a database as a whole
``audit_lag``      events that are still in transit to the audit trail
``auditor``        surveys all sagas, reads suspects again after the grace, reports violations
``codes``          the codes of violations, and the report
``report``         prints a report and its changes, for people and as JSON
=================  =================================================================================
"""

from webapp.ops.reconcile.audit_lag import audit_queue
from webapp.ops.reconcile.auditor import Auditor
from webapp.ops.reconcile.codes import Report, Violation
from webapp.ops.reconcile.snapshots import Unreadable

__all__ = ["Auditor", "Report", "Unreadable", "Violation", "audit_queue"]
