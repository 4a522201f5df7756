"""The auditor that trusts nobody: it reads the three databases itself and shares no code with engine or
participants.

=============  ==============================================================================================
``sql``        one row of facts per saga from each database, sorted by saga ``facts``      those rows side by
side: everything the snapshots say of one saga ``rules``      what must hold for a facts: money and goods,
journals, the rest ``totals``     what must hold for a database as a whole: per SKU, per ledger transaction,
per wallet, the outbox ``books``      the databases, each read in one snapshot ``queue``      the length of
the audit's queue ``lag``        what is still on its way to the audit trail ``auditor``    survey all, read
the suspects again after the grace, name what still stands ``codes``      every violation's name, and what it
says ``report``     for people, and as JSON ``watching``   looking again and again: what has come, what has
gone =============
==============================================================================================
"""

from webapp.ops.reconcile.audit_lag import audit_queue
from webapp.ops.reconcile.auditor import Auditor
from webapp.ops.reconcile.codes import Report, Violation
from webapp.ops.reconcile.snapshots import Unreadable

__all__ = ["Auditor", "Report", "Unreadable", "Violation", "audit_queue"]
