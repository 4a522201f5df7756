"""Provision existing servers: create what is missing and keep what exists; running it again changes nothing.

============  ==================================================================
``plan``      what is missing, and whether it may be created
``postgres``  databases and the roles that own them
``reader``    the read-only role of the admin's pages on stock and ledger
``broker``    virtual host, user, exchanges, queues and bindings
============  ==================================================================
"""

from webapp.ops.provision.plan import CannotProvision, Plan

__all__ = ["CannotProvision", "Plan"]
