"""Servers made ready: what is missing is made, what is there is left alone, and running it again changes
nothing.

=============  ====================================================================================
``plan``       what was found missing, and whether it may be made
``postgres``   databases and the roles that own them
``reader``     the role of the web's pages on stock and ledger, which may only read
``rabbitmq``   virtual host, user, permissions
``topology``   exchanges, queues and bindings, on either broker
=============  ====================================================================================
"""

from webapp.ops.provision.plan import CannotProvision, Plan

__all__ = ["CannotProvision", "Plan"]
