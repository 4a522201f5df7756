"""Gunicorn's settings: ``gunicorn --config deploy/gunicorn.conf.py``, from the project's folder.

``WEB_BIND`` is its address, ``WEB_PROCESSES`` the number of processes, ``WEB_THREADS`` the threads of each.

Gunicorn marks a request as https if a proxy in ``FORWARDED_ALLOW_IPS`` (by default this host) sends
``X-Forwarded-Proto: https``. Django's SECURE_PROXY_SSL_HEADER would trust every client, so it stays unset.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ordersaga.contrib.structlog import ACCESS_FORMAT, configuration
from ordersaga.errors import ConfigurationError
from workers.settings import settings

try:
    settings()
except ConfigurationError as refused:  # printed once, not by each process with a traceback
    sys.exit(str(refused))


def number(name: str, default: int) -> int:
    """Return a positive whole number from the environment; exit if it is none."""
    text = os.environ.get(name, "") or str(default)
    if not text.isdecimal() or int(text) < 1:
        sys.exit(f"{name}={text!r} is not a number of processes or threads; write 1, 2, 3 …")
    return int(text)


wsgi_app = "webapp.wsgi:application"
bind = os.environ.get("WEB_BIND", "127.0.0.1:8000")
workers = number("WEB_PROCESSES", 2)
worker_class = "gthread"
threads = number("WEB_THREADS", 4)
timeout = 60
graceful_timeout = 30
keepalive = 5
max_requests, max_requests_jitter = 10_000, 1_000  # limits memory leaks of packages
# access and error logs, too
logconfig_dict = configuration(json=settings().logs_json, error_messages=settings().debug)
access_log_format = ACCESS_FORMAT
control_socket_disable = True  # its file would be in a home folder that may not exist
if Path("/dev/shm").is_dir():  # noqa: S108 - gunicorn creates a private file there
    worker_tmp_dir = "/dev/shm"  # noqa: S108 - as above: a heartbeat must not wait for a disk
