"""Django's settings, all from the environment (``workers.settings``)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ordersaga.contrib.structlog import configuration
from webapp.db import to_django_config
from webapp.mirrors.router import DOMAINS, reader_alias, reader_config
from workers.settings import settings

_ours = settings()
_production = _ours.env == "production"

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = _ours.secret_key
DEBUG = _ours.debug
ALLOWED_HOSTS = list(_ours.allowed_hosts)

INSTALLED_APPS = [
    "webapp.ops",  # before Django's own apps: its migrate command covers all three databases
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "webapp.orders",
    "webapp.audit",
    "webapp.mirrors",
    "webapp.flower",
    "webapp.api",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "webapp.health.HealthMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

if _production:  # elsewhere runserver serves static files from where they are written
    MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")

ROOT_URLCONF = "webapp.urls"
WSGI_APPLICATION = "webapp.wsgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "webapp" / "templates"],  # shared by several apps
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# The web process writes only to the orders database. Views open their transactions themselves, so that none
# stays open while a template is rendered.
DATABASES = {
    "default": {
        **to_django_config(_ours.orders_database_url),
        "ATOMIC_REQUESTS": False,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    },
}
# The pages of stock and ledger read the participants' databases. Production requires a read-only role for it.
for _domain in DOMAINS:
    if _url := _ours.reader_url(_domain):
        DATABASES[reader_alias(_domain)] = reader_config(_url)
DATABASE_ROUTERS = ["webapp.mirrors.router.MirrorRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
USE_I18N = True

FLOWER_URL, FLOWER_APP = _ours.flower_url, _ours.participants[0]
"""The address of Flower, and the Celery application that it is started with."""

STATIC_URL = "static/"
STATICFILES_DIRS: list[Any] = [BASE_DIR / "webapp" / "static"]  # shared by several apps
if _ninja := find_spec(
    "ninja"
):  # the API's documentation page; as an app, ninja would be loaded by every pool
    STATICFILES_DIRS.append(("ninja", Path(str(_ninja.origin)).parent / "static" / "ninja"))
STATIC_ROOT = BASE_DIR / "staticfiles"
if _production:
    # File names contain a digest of the content, so browsers may cache them without limit; run
    # manage.py collectstatic once per release.
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
    }

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _production
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if _production else 0
# In production a proxy terminates TLS and forwards plain HTTP; forms come from these origins.
CSRF_TRUSTED_ORIGINS = (
    [f"https://{'*' if host.startswith('.') else ''}{host}" for host in ALLOWED_HOSTS] if _production else []
)

# Commands log for people. Servers log in the format of the environment: see webapp/wsgi.py and
# workers/celery_app.py.
LOGGING = configuration(json=False, error_messages=_ours.debug)
SERVER_LOGGING = configuration(json=_ours.logs_json, error_messages=_ours.debug)
