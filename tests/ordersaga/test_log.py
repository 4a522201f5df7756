"""Log lines contain the bound fields, and no more of an error than is safe to show."""

from __future__ import annotations

import doctest
import json
import logging
import subprocess
import sys
from collections.abc import Callable

import psycopg2
import pytest
import structlog
from psycopg2 import errors
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import IntegrityError

from ordersaga import log
from ordersaga.contrib.structlog import ACCESS, ACCESS_FORMAT, formatter
from ordersaga.database import first_line
from ordersaga.errors import EnvelopeError
from ordersaga.log import LogEvent, failure, log_context, safe_message, safe_traceback
from tests.support.postgres import Postgres
from tests.support.processes import ROOT
from tests.support.time_scale import scaled
from workers.signals import Line as OrderLine

WORDS = "Ann Example, 1 Some Street"
POOL_AT_DEBUG = """
import logging
from workers.inventory.celery import app
from workers.celery_app import set_up_logs
set_up_logs("DEBUG")
names = ("celery", "celery.pool", "django.db.backends")
print([logging.getLogger(name).isEnabledFor(logging.DEBUG) for name in names])
"""


def raised(act: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
        act()
    assert isinstance(caught.value, Exception)
    return caught.value


def written(
    message: object, *args: object, name: str = "some.logger", error: Exception | None = None
) -> dict[str, object]:
    """Return a line in the JSON format."""
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, info)
    found: dict[str, object] = json.loads(formatter(json=True).format(record))
    return found


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(log, optionflags=doctest.ELLIPSIS).failed == 0


def test_bound_fields_end_with_their_block() -> None:
    with log_context(step="a.step", task="1"), log_context(task="2", attempt=None):
        line = written("hello")
    assert (line["step"], line["task"], "attempt" in line) == ("a.step", "2", False)
    assert "task" not in written("hello")


def test_a_database_error_shows_schema_names_and_no_value(
    postgres: Postgres, database_templates: dict[str, str]
) -> None:
    postgres.ensure()
    engine = create_engine(
        make_url(postgres.create_database("told", "orders")).set(drivername="postgresql+psycopg2")
    )
    with engine.begin() as db:
        db.execute(text("CREATE TABLE person (name text CONSTRAINT person_once UNIQUE)"))
    insert = text("INSERT INTO person VALUES (:name), (:name)")

    def twice() -> None:
        with engine.begin() as db:
            db.execute(insert, {"name": WORDS})

    error = raised(twice)
    engine.dispose()
    assert isinstance(error, IntegrityError)
    assert WORDS in str(error)
    assert safe_message(error) == "IntegrityError: SQLSTATE 23505, table person, constraint person_once"
    assert WORDS not in safe_traceback(error)
    assert "then" in safe_traceback(error)
    assert isinstance(error.orig, errors.UniqueViolation)


def test_an_invalid_signal_is_described_by_its_fields() -> None:
    error = raised(lambda: OrderLine.model_validate({"sku": WORDS, "quantity": 0, "amount": 1, WORDS: 1}))
    assert (
        safe_message(error)
        == "ValidationError: Line: sku string_pattern_mismatch, quantity greater_than_equal, extra_forbidden"
    )


def test_messages_of_connection_and_engine_errors_are_shown() -> None:
    refused = raised(lambda: psycopg2.connect("postgresql://127.0.0.1:1/nowhere"))
    assert "Connection refused" in safe_message(refused)
    assert safe_message(EnvelopeError("not signed", "abc")) == "EnvelopeError: not signed (body sha256 abc)"


def test_a_safe_message_is_one_line_without_a_full_stop() -> None:
    assert (
        first_line(ValueError("\nthe broker does not answer.\nDETAIL: at 10.0.0.1"))
        == "the broker does not answer"
    )
    assert first_line(ValueError()) == "ValueError"


def test_a_chained_error_is_not_mistaken_for_its_cause() -> None:
    def wrapped() -> None:
        try:
            psycopg2.connect("postgresql://127.0.0.1:1/nowhere")
        except psycopg2.OperationalError as error:
            raise RuntimeError(WORDS) from error

    assert safe_message(raised(wrapped)) == "RuntimeError"


def test_no_log_line_contains_an_exceptions_message() -> None:
    error = raised(lambda: dict[str, str]()[WORDS])
    line = written("something broke", error=error)
    assert WORDS not in json.dumps(line)
    assert str(line["exception"]).endswith("KeyError")


def test_an_access_line_has_no_query_and_no_address() -> None:
    atoms = {"m": "GET", "U": "/admin/orders/order/", "q": WORDS, "f": WORDS, "s": "200", "B": 12, "D": 1500}
    line = written(ACCESS_FORMAT, atoms, name=ACCESS)
    assert (line["event"], line["status"], line["bytes"], line["seconds"]) == (
        "GET /admin/orders/order/",
        200,
        12,
        0.0015,
    )
    assert WORDS not in json.dumps(line)
    assert "Ann" not in json.dumps(
        written('"%s" %s', "GET /admin/?q=Ann+Example HTTP/1.1", "200", name="django.server")
    )


def test_loggers_of_arguments_and_parameters_stay_silent_at_debug() -> None:
    done = subprocess.run(
        [sys.executable, "-c", POOL_AT_DEBUG],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=scaled(60),
    )
    assert done.stdout.splitlines()[-1] == "[True, False, False]"


def test_structlogs_loggers_include_the_bound_fields(caplog: pytest.LogCaptureFixture) -> None:
    form = formatter(json=True)
    with log_context(step="a.step"), caplog.at_level("INFO"):
        structlog.get_logger("mine").info("reserved", sku="TEA")
        line = json.loads(form.format(caplog.records[-1]))
    assert (line["event"], line["sku"], line["step"]) == ("reserved", "TEA", "a.step")


def test_under_any_logging_setup_a_line_is_text() -> None:
    error = raised(lambda: dict[str, str]()[WORDS])
    output = str(LogEvent("step_given_up", "The step failed.", saga="7", **failure(error, whole=True)))
    assert output.startswith("step_given_up: The step failed. saga=7 error=KeyError\n")
    assert WORDS not in output
