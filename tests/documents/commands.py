"""What is wrong with a command of the documents, by the parsers that would read it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import click
from celery.bin.celery import celery
from django.core.management import CommandError, get_commands, load_command_class
from django.core.management.base import BaseCommand

from tests.documents.pages import Page
from tests.documents.shells import Command, commands_of
from tests.support.processes import ROOT
from workers.django import setup

setup()

MAKEFILE = Path(ROOT, "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
READ = set(re.findall(r"\$\(([A-Z_]+)\)", MAKEFILE)) | {"BROKER"}
ENVIRONMENT = set(re.findall(r"^(ORDERSAGA_\w+)=", Path(ROOT, ".env.example").read_text(), re.MULTILINE)) | {"ORDERSAGA_DOTENV"}
COMPOSE = Path(ROOT, "docker-compose.yml").read_text()
SERVICES = set(
    re.findall(r"^  ([a-z]+):", re.findall(r"^services:\n((?:(?: .*)?\n)+)", COMPOSE, re.MULTILINE)[0], re.MULTILINE)
)
LEFT = "…"
"""Stands for what the reader fills in; nothing is asked of a command that has it but that its options exist."""


@cache
def manage(name: str) -> argparse.ArgumentParser:
    command: BaseCommand = load_command_class(get_commands()[name], name)
    return command.create_parser("manage.py", name)


def fault(command: Command, project: Page) -> str | None:
    """What is wrong with a command, if it is one of ours."""
    words = list(command.words)
    for variable in command.sets:
        name = variable.partition("=")[0]
        if name.startswith("ORDERSAGA_") and LEFT not in name and name not in ENVIRONMENT:
            return f"nobody reads {name}"
    name = Path(words[0]).name
    if re.fullmatch(r"python[\d.]*", name) and len(words) > 1:
        if words[1] == "-m":
            return _module(words[2:], project)
        name, words = Path(words[1]).name, words[1:]
    if name == "manage.py":
        return _manage(words[1:])
    if name == "make":
        return _make(words[1:])
    if name == "celery":
        return _celery(words[1:], project)
    if words[:2] == ["docker", "compose"]:
        return _compose(words[2:], project)
    if name.endswith(".py") and name not in project.files:
        return None if Path(ROOT, words[0]).exists() else f"no {name}"
    return None


def _manage(words: Sequence[str]) -> str | None:
    if not words or words[0] == "help":
        return None
    if words[0] not in get_commands():
        return f"no command manage.py {words[0]}"
    parser = manage(words[0])
    if LEFT in words:
        return _options(words, set(parser._option_string_actions))
    try:
        parser.parse_args(list(words[1:]))
    except (CommandError, SystemExit) as error:
        return None if "-h" in words or "--help" in words else str(error)
    return None


def _make(words: Sequence[str]) -> str | None:
    for word in words:
        name, assigned, _ = word.partition("=")
        if assigned and name not in READ and name not in ENVIRONMENT:
            return f"the Makefile does not read {name}"
        if not assigned and word != LEFT and word not in TARGETS:
            return f"no make {word}"
    return None


def _compose(words: Sequence[str], project: Page) -> str | None:
    """What ``run`` and ``exec`` start, and the names of services. Docker itself is not there to ask."""
    act, *rest = [word for word in words if not word.startswith("-")] or [LEFT]
    named = rest[:1] if act in {"run", "exec"} else [word for word in rest if re.fullmatch(r"[a-z]+", word)]
    if strange := [name for name in named if name not in SERVICES]:
        return f"no service {strange[0]}"
    if act not in {"run", "exec"} or not rest:
        return None
    inner = list(words[list(words).index(rest[0]) + 1 :])
    if rest[0] == "manage":
        return _manage(inner)
    return fault(Command((), tuple(inner), " ".join(words)), project) if inner else None


def _celery(words: Sequence[str], project: Page) -> str | None:
    """Click's own parser for each group; the application is looked for, not loaded."""
    rest, group = list(words), celery
    context = click.Context(celery, info_name="celery")
    while isinstance(group, click.Group):
        known = {option for p in group.params for option in p.opts}
        while rest and rest[0].startswith("-"):
            option, _, value = rest.pop(0).partition("=")
            if option not in known:
                return f"celery has no {option} here"
            value = value or (rest.pop(0) if rest else "")
            if option in {"-A", "--app"} and (wrong := _application(value, project)):
                return wrong
        if not rest or rest[0] == LEFT:
            return None
        name = rest.pop(0)
        if name == "multi":
            return None
        if (found := group.get_command(context, name)) is None:
            return f"no celery {name}"
        group, context = found, click.Context(found, parent=context, info_name=name)
    return _click(group, context, rest)


def _click(command: click.Command, context: click.Context, words: list[str]) -> str | None:
    if command.context_settings.get("ignore_unknown_options"):
        return None
    try:
        command.make_parser(context).parse_args(args=[word for word in words if word != LEFT])
    except click.UsageError as error:
        return error.format_message()
    return None


def _application(value: str, project: Page) -> str | None:
    module = value.partition(":")[0]
    if f"{module}.py" in project.files:
        return None
    return None if find_spec(module) else f"no module {module}"


def _module(words: Sequence[str], project: Page) -> str | None:
    if not words or words[0] in {"pip", "venv"}:
        return None
    if words[0] == "celery":
        return _celery(words[1:], project)
    if f"{words[0]}.py" in project.files:
        return None
    try:
        spec = find_spec(words[0])
    except ModuleNotFoundError:
        spec = None
    return None if spec else f"no module {words[0]}"


def _options(words: Sequence[str], known: set[str]) -> str | None:
    strange = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no option {strange[0]}" if strange else None


def faults(one: Page) -> list[str]:
    """In the shell blocks whole commands; in running text, where one is named in part, its name and options."""
    typed = [c for line in one.commands for c in commands_of(line)]
    found = [f"{c.line}: {why}" for c in typed if (why := fault(c, one))]
    for span in one.spans:
        if re.match(r"(?:python\S* )?(?:\./)?manage\.py [a-z]|make [a-z]|celery -A |docker compose ", span):
            open_ended = [c._replace(words=(*c.words, LEFT)) for c in commands_of(span)]
            found += [f"{span}: {why}" for c in open_ended if (why := fault(c, one))]
    return found
