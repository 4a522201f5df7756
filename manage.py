#!/usr/bin/env python3
"""The command line of the Django project: ``./manage.py help`` lists the commands."""

from __future__ import annotations

import sys

from webapp.ops.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command(sys.argv))
