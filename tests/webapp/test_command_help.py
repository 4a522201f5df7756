"""The help of every command has a description, exit statuses and an example that parses."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from django.core.management import CommandError, load_command_class

from webapp.ops.cli.command import fold_text
from webapp.ops.management import commands

NAMES = sorted(path.stem for path in Path(str(commands.__path__[0])).glob("[a-z]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_help_ends_with_exit_statuses_and_examples(name: str) -> None:
    parser = load_command_class("webapp.ops", name).create_parser("manage.py", name)
    result = parser.format_help()
    assert re.search(r"^exit status:\n  0    ", result, re.MULTILINE)
    assert f"\nexamples:\n  manage.py {name}" in result


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_80_columns_with_own_options_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = load_command_class("webapp.ops", name).create_parser("manage.py", name)
    result = parser.format_help()
    assert [line for line in result.splitlines() if len(line) > 80] == []
    examples = [
        line for line in (parser.epilog or "").splitlines() if line.startswith("  ") and "manage.py" in line
    ]
    assert [line for line in examples if line not in result] == [], "an example is broken in two"
    ours = [option for action in parser._actions for option in action.option_strings if option == "--json"]
    assert [result.index(f"\n  {option} ") < result.index("\n  --settings ") for option in ours] == [
        True
    ] * len(ours)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_json_output(name: str) -> None:
    parser = load_command_class("webapp.ops", name).create_parser("manage.py", name)
    acts = [
        each
        for action in parser._actions
        if isinstance(action.choices, dict)
        for each in action.choices.values()
    ]
    assert [each.prog for each in acts or [parser] if "--json" not in each.format_help()] == []


def test_long_lines_are_folded_under_their_last_column() -> None:
    words = "Words that\nbelong together.\n\nexit status:\n"
    text = f"{words}  2    a message says what is to be done\n  run it now  because of this"
    assert list(fold_text(text, 24)) == [
        "Words that belong",
        "together.",
        "",
        "exit status:",
        "  2    a message says",
        "       what is to be",
        "       done",
        "  run it now",
        "      because of this",
        "",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_the_help_parse(name: str) -> None:
    parser = load_command_class("webapp.ops", name).create_parser("manage.py", name)
    lines = (line.strip() for line in (parser.epilog or "").splitlines())
    whole = [line for line in lines if line.startswith(f"manage.py {name}") and not line.endswith("\\")]
    examples = [re.split(r" \| | && |\s{2,}", line)[0] for line in whole]
    assert examples
    for example in examples:
        try:
            parser.parse_args(shlex.split(example)[2:])
        except CommandError as error:
            pytest.fail(f"{example}: {error}")
