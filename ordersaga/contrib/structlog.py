"""Format all log lines with structlog, as JSON for programs or as text for people.

This applies to the lines of the engine, structlog, Celery, Django and gunicorn. Each line has the fields of
:func:`ordersaga.log.current_context`. Exceptions appear only as :func:`ordersaga.log.safe_message`, and URLs
without their query.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import orjson
import structlog

from ordersaga.log import LogEvent, current_context, safe_traceback

Event = MutableMapping[str, Any]

QUERY = re.compile(r"\?\S*")
WEB = ("django.server", "django.request", "django.security", "gunicorn")
"""Loggers that log URLs, whose query may contain searched personal data."""
ACCESS = "gunicorn.access"
SERVERS = ("django", "django.server", "gunicorn.error", ACCESS)
"""Loggers with their own handlers, which are removed."""
SQL_LOGGER = "django.db.backends"
"""A logger that logs parameters of statements at DEBUG. Each pool silences Celery's, which logs arguments."""
DUPLICATING = ("celery.app.trace", "celery.worker.strategy", "alembic.runtime.plugins")
"""Loggers whose INFO events repeat those of the engine."""
ACCESS_FORMAT = "%(m)s %(U)s"
"""Gunicorn's ``access_log_format`` without query, referer, user and host; the rest are fields."""


def configuration(
    *, json: bool, level: int | str = "INFO", file: str | None = None, error_messages: bool = False
) -> dict[str, Any]:
    """The configuration for :func:`logging.config.dictConfig`, Django's ``LOGGING`` and gunicorn.

    :param level: of the root logger.
    :param file: the log file, instead of standard error; it is reopened after a rotation.
    :param error_messages: log exceptions with their messages; for development only.
    """
    output = {"class": "logging.handlers.WatchedFileHandler", "filename": file, "encoding": "utf-8"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "ordersaga": {
                "()": formatter,
                "json": json,
                "error_messages": error_messages,
                "colors": not file and sys.stderr.isatty(),
            }
        },
        "handlers": {
            "ordersaga": {
                **(output if file else {"class": "logging.StreamHandler"}),
                "formatter": "ordersaga",
            }
        },
        "root": {"handlers": ["ordersaga"], "level": level},
        "loggers": {
            SQL_LOGGER: {"level": "INFO"},
            **{name: {"level": "WARNING"} for name in DUPLICATING if level not in ("DEBUG", logging.DEBUG)},
            **{name: {"level": "INFO", "handlers": [], "propagate": True} for name in SERVERS},
        },
    }


def formatter(*, json: bool, error_messages: bool = False, colors: bool = False) -> logging.Formatter:
    """The formatter of all lines; this also routes structlog's loggers through the standard library."""
    first: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper("iso"),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *first,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer = (
        structlog.processors.JSONRenderer(_dumps) if json else structlog.dev.ConsoleRenderer(colors=colors)
    )
    errors = structlog.processors.format_exc_info if error_messages else _errors
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*first, _extract_fields],
        pass_foreign_args=True,
        processors=[_fields, errors, structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _extract_fields(_: Any, __: str, event: Event) -> Event:
    """Extract the fields of an engine event or a gunicorn access, and remove the query of a URL."""
    record: logging.LogRecord = event["_record"]
    atoms = event.pop("positional_args")
    if isinstance(record.msg, LogEvent):
        event.update(record.msg.fields)
        event.update(event=record.msg.code, message=record.msg.sentence)
    elif record.name == ACCESS and isinstance(atoms, Mapping):
        event.update(status=int(atoms["s"]), bytes=atoms["B"], seconds=int(atoms["D"]) / 1_000_000)
    elif record.name.startswith(WEB):
        event["event"] = QUERY.sub("", event["event"])
    return event


def _fields(_: Any, __: str, event: Event) -> Event:
    for name, value in current_context().items():
        event.setdefault(name, value)
    event["pid"] = event["_record"].process
    return event


def _errors(_: Any, __: str, event: Event) -> Event:
    """Replace exceptions by their safe tracebacks."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = safe_traceback(error)
    return event


def _dumps(event: Mapping[str, Any], **_: Any) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode(errors="replace")
