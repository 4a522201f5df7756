"""The site for a WSGI server: ``webapp.wsgi:application``."""

from __future__ import annotations

import os
from logging.config import dictConfig

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

application = get_wsgi_application()
dictConfig(settings.SERVER_LOGGING)
