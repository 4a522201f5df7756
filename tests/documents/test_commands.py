"""The real parsers accept every command in the documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents.commands import SERVICES, TARGETS, faults
from tests.documents.markdown import Page, pages
from tests.support.processes import ROOT


def test_the_parsers_were_found() -> None:
    assert {"demo", "test", "lint"} <= TARGETS
    assert {"manage", "inventory", "web"} <= SERVICES


@pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)
def test_every_command_parses(one: Page) -> None:
    assert faults(one) == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("python manage.py reconcil", "no command"),
        ("python manage.py seed_orders --cuont 3", "unrecognized"),
        ("python manage.py seed_orders --count many", "not a whole number"),
        ("make tset", "no make"),
        ("make test AGRS=-x", "does not read AGRS"),
        ("ORDERSAGA_BROKER=amqp:// python manage.py migrate | tee log", "no parser reads"),
        ("celery -A workers.order worker", "no module"),
        ("celery -A workers.orders wrker -c 2", "no celery wrker"),
        ("celery -A workers.orders worker --concurency 2", "concurency"),
        ("celery -A workers.orders --brokr=x worker", "--brokr"),
        ("python -m webapp.ops.embeded start x", "no module"),
        ("(cd x; make tset) && true", "no make"),
        ("docker compose run --rm manage reconcil", "no command"),
        ("docker compose exec inventry sh", "no service"),
        ("docker compose exec inventory python -m workers.helth inventory", "no module"),
        ('eval "$(python manage.py reconcil)"', "no command"),
    ],
)
def test_a_mistyped_command_is_detected(line: str, why: str) -> None:
    draft = Page(Path(ROOT, "draft.md"), f"```console\n$ {line}\n```\n")

    [found] = faults(draft)
    assert why in found


@pytest.mark.parametrize(
    ("span", "why"),
    [
        ("NOBODY_READS_THIS=1 make test", "no parser reads"),
        ("NOBODY_READS_THIS", "no parser reads"),
        ('make test ARGS="-k nothing_of_the_kind"', "selects nothing"),
        ('make test ARGS="tests/falures"', "no tests/falures"),
        ('make test ARGS="tests/failures --mesured"', "pytest has no --mesured"),
        ("make bench ONLY=drian", "no part"),
        ("python -m benchmarks.pages --sagsa 3", "unrecognized"),
        ("venv/bin/python -m workers.helth inventory", "no module"),
        ("choreography --recrod", "no option"),
        ("--dry-rnu", "no option"),
        ("celery worker --loglvel", "no option"),
        ("sh deploy/statics.sh", "no deploy/statics.sh"),
        ("docker compose up --scale inventry=2", "no service"),
    ],
)
def test_a_mistyped_command_in_text_is_detected(span: str, why: str) -> None:
    [found] = faults(Page(Path(ROOT, "draft.md"), f"Say `{span}`.\n"))
    assert why in found


@pytest.mark.parametrize("line", ["pyhton manage.py reconcile", "frobnicate --all"])
def test_an_unchecked_program_is_detected(line: str) -> None:
    [found] = faults(Page(Path(ROOT, "draft.md"), f"```console\n$ {line}\n```\n"))
    assert "no check covers" in found
