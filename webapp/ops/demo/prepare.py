"""Prepare the databases: schemas, catalogue, a login. It runs as a separate process with the servers'
addresses.
"""

from __future__ import annotations

import os
import sys

from workers.django_setup import setup

USER = "admin"
PASSWORD = "DEMO_PASSWORD"  # noqa: S105 - the name of a variable
OURS = "--ours"
"""The option that the demo passes for its embedded orders database: the login's password is always set."""
FOREIGN_LOGIN = 3
"""The exit status when everything is ready, but the user already exists with another password."""


def prepare(*, ours: bool) -> int:
    setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
    call_command("seed_catalog")
    password = os.environ[PASSWORD]
    users = get_user_model().objects
    user = users.filter(username=USER).first()
    if user is None:
        users.create_superuser(USER, password=password)
    elif ours:
        user.set_password(password)
        user.save()
    elif not (user.is_active and user.is_superuser and user.check_password(password)):
        return FOREIGN_LOGIN
    return 0


if __name__ == "__main__":
    sys.exit(prepare(ours=OURS in sys.argv[1:]))
