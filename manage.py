#!/usr/bin/env python3
"""The stage's command line: ``./manage.py help`` lists the commands."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    from django.core.management import execute_from_command_line

    from ordersaga.errors import ConfigurationError

    try:
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:  # the message says which variable, and what to do
        sys.exit(str(error))
