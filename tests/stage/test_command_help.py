"""Every command of ours explains itself: what it does, its exit statuses, an example that can be run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from django.core.management import CommandError, load_command_class

from webapp.ops.management import commands

NAMES = sorted(path.stem for path in Path(str(commands.__path__[0])).glob("[a-z]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_help_ends_with_exit_statuses_and_examples(name: str) -> None:
    parser = load_command_class("webapp.ops", name).create_parser("manage.py", name)
    told = parser.format_help()
    assert re.search(r"^exit (status:\n  0   |codes: 0) ", told, re.MULTILINE)
    assert f"\nexamples:\n  manage.py {name}" in told


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_are_commands_that_parse(name: str) -> None:
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
