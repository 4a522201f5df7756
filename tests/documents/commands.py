"""Checks the commands of the documents by the parsers that would read them."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import click
from celery.bin.celery import celery
from django.core.management import CommandError, get_commands, load_command_class
from django.core.management.base import BaseCommand

from tests.documents.markdown import Page, names
from tests.documents.modules import module_fault, pytest_fault
from tests.documents.shell_parser import Command, commands_of
from tests.support.processes import ROOT
from workers.django_setup import setup

setup()

MAKEFILE = Path(ROOT, "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
READ = set(re.findall(r"\$\(([A-Z_]+)\)", MAKEFILE)) | {"BROKER"}
ENVIRONMENT = set(re.findall(r"^(ORDERSAGA_\w+)=", Path(ROOT, ".env.example").read_text(), re.MULTILINE)) | {
    "ORDERSAGA_DOTENV"
}
COMPOSE = Path(ROOT, "docker-compose.yml").read_text()
SERVICES = set(
    re.findall(
        r"^  ([a-z]+):", re.findall(r"^services:\n((?:(?: .*)?\n)+)", COMPOSE, re.MULTILINE)[0], re.MULTILINE
    )
)
LEFT = "…"
"""A placeholder for what the reader fills in; only the options of such a command are checked."""
FOREIGN = frozenset(
    """
    . cd cp curl do done echo env eval export for git grep head install jobs jq journalctl kill mkdir pg_dump
    pip psql rabbitmq-plugins rabbitmqctl sort source sudoedit systemctl tee true umask useradd wait
    """.split()  # noqa: SIM905 - read as the words they are
)
"""Programs of others. Every other program in a document must be one that is checked below."""
RUNNERS = frozenset({"systemd-run", "timeout", "do"})
"""Programs that run the command after their options."""
TYPED = re.compile(
    r"(?:[A-Z_…]+=(?:\"[^\"]*\"|\S*) )*(?:\S*/)?"
    r"(?:python[\d.]*|pytest|make|celery|docker compose|manage\.py|sh|pip|systemctl|journalctl|curl|git) \S"
)
"""Matches a command in running text."""
SOURCES = "\n".join(
    Path(ROOT, name).read_text(errors="replace")
    for name in sorted(names())
    if not name.startswith("tests/documents/")
    and Path(name).suffix in {"", ".py", ".sh", ".yml", ".example", ".conf", ".toml", ".sql", ".service"}
    and Path(ROOT, name).is_file()
)
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")


@cache
def manage(name: str) -> argparse.ArgumentParser:
    command: BaseCommand = load_command_class(get_commands()[name], name)
    return command.create_parser("manage.py", name)


def fault(command: Command, project: Page) -> str | None:
    """Return what is wrong with a command, or None."""
    names_set = [variable.partition("=")[0] for variable in command.sets]
    if not project.files and (
        foreign := [name for name in names_set if LEFT not in name and not _is_read(name)]
    ):
        return f"no parser reads {foreign[0]}"
    words = list(command.words)
    if not words:
        return None
    name = Path(words[0]).name or words[0]
    if re.fullmatch(r"python[\d.]*", name) and len(words) > 1:
        if words[1] == "-m":
            return _module(words[2:], project)
        if words[1].startswith("-"):
            return None
        name, words = Path(words[1]).name, words[1:]
    if name in READERS:
        return READERS[name](words[1:], project)
    if name in RUNNERS:
        rest = words[1:]
        while rest and rest[0].startswith("-"):
            rest.pop(0)
        return fault(Command((), tuple(rest), command.line), project) if rest else None
    if name.endswith(".py"):
        return None if name in project.files or Path(ROOT, words[0]).exists() else f"no {name}"
    return None if name in FOREIGN or name == LEFT else f"no check covers {name}"


def _is_read(name: str) -> bool:
    if name.startswith("ORDERSAGA_"):
        return name in ENVIRONMENT
    return name in READ or re.search(rf"\b{name}\b", SOURCES) is not None


def _docker(words: Sequence[str], project: Page) -> str | None:
    return _compose(words[1:], project) if words[:1] == ["compose"] else "only docker compose is looked into"


def _shell(words: Sequence[str], project: Page) -> str | None:
    """Check ``sh FILE``: a script of the project, or one of a container."""
    file = next((word for word in words if not word.startswith("-")), "")
    return None if not file or file.startswith("/") or Path(ROOT, file).exists() else f"no {file}"


def _manage(words: Sequence[str], project: Page | None = None) -> str | None:
    if not words or words[0] == "help":
        return None
    if words[0] not in get_commands():
        return f"no command manage.py {words[0]}"
    parser = manage(words[0])
    if LEFT in words:
        return _options(words, set(_option_strings(parser)))
    try:
        parser.parse_args(list(words[1:]))
    except (CommandError, SystemExit) as error:
        return None if "-h" in words or "--help" in words else str(error)
    return None


def _option_strings(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Return the options of a command and of its subcommands."""
    yield from parser._option_string_actions
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name in action.choices:
                yield from _option_strings(action.choices[name])


def _make(words: Sequence[str], project: Page) -> str | None:
    given: dict[str, str] = {}
    targets = []
    for word in words:
        name, assigned, value = word.partition("=")
        if assigned and name not in READ and name not in ENVIRONMENT:
            return f"the Makefile does not read {name}"
        if assigned:
            given[name] = value
        elif word != LEFT and word not in TARGETS:
            return f"no make {word}"
        targets.append(word)
    arguments = shlex.split(given.get("ARGS", ""))
    if "test" in targets:
        return pytest_fault(arguments)
    if "demo" in targets:
        return _manage(["demo", *arguments])
    if "bench" in targets:
        options = [
            word
            for name in ("only", "rounds")
            if name.upper() in given
            for word in (f"--{name}", given[name.upper()])
        ]
        return _module(["benchmarks", *options, *arguments], project)
    if "faults" in targets:
        named = ("minutes", "seed", "kinds")
        options = [
            word for name in named if name.upper() in given for word in (f"--{name}", given[name.upper()])
        ]
        return _module(["tests.faults", *options, *arguments], project)
    return None


def _compose(words: Sequence[str], project: Page) -> str | None:
    """Check the command of ``run`` and ``exec`` and the names of services, without Docker."""
    act, *rest = [word for word in words if not word.startswith("-")] or [LEFT]
    named = (
        rest[:1]
        if act in {"run", "exec"}
        else [w.partition("=")[0] for w in rest if re.fullmatch(r"[a-z]+(=\d+)?", w)]
    )
    if foreign := [name for name in named if name not in SERVICES]:
        return f"no service {foreign[0]}"
    if act not in {"run", "exec"} or not rest:
        return None
    inner = list(words[list(words).index(rest[0]) + 1 :])
    if rest[0] == "manage":
        return _manage(inner)
    return fault(Command((), tuple(inner), " ".join(words)), project) if inner else None


def _celery(words: Sequence[str], project: Page) -> str | None:
    """Check by Click's parser of each group; the application is found but not loaded."""
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
    if LEFT in words:
        return _options(words, {option for p in command.params for option in (*p.opts, *p.secondary_opts)})
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
    if words[0] == "pytest":
        return None if project.files else pytest_fault(words[1:])
    if f"{words[0]}.py" in project.files:
        return None
    return module_fault(words[0], tuple(word for word in words[1:] if word != LEFT))


def _options(words: Sequence[str], known: set[str]) -> str | None:
    foreign = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no option {foreign[0]}" if foreign else None


READERS = {
    "manage.py": _manage,
    "make": _make,
    "celery": _celery,
    "docker": _docker,
    "sh": _shell,
    "pytest": lambda words, _: pytest_fault(words),
}
"""The checker of each program."""


@cache
def every_option() -> frozenset[str]:
    """Return the options of all commands of the project and of ``celery worker``."""
    worker = {option for p in celery.commands["worker"].params for option in p.opts}
    ours = [name for name, app in get_commands().items() if str(app).startswith("webapp")]
    return frozenset(option for name in ours for option in manage(name)._option_string_actions) | worker


def faults(one: Page) -> list[str]:
    """Yield faults of whole commands in shell blocks, and of the names and options of commands in running
    text.
    """
    typed = [c for line in one.commands for c in commands_of(line)]
    found = [f"{c.line}: {why}" for c in typed if (why := fault(c, one))]
    return found + [f"{span}: {why}" for span in one.spans if (why := _spoken(span, one))]


def _spoken(span: str, one: Page) -> str | None:
    first, _, rest = span.partition(" ")
    if first in get_commands() and rest.startswith("-"):
        return _manage([*span.split(), LEFT])
    if re.fullmatch(r"--[a-z-]+", first):
        return None if first in every_option() or pytest_fault([first]) is None else f"no option {first}"
    if VARIABLE.fullmatch(span):
        return None if one.files or _is_read(span) else f"no parser reads {span}"
    if TYPED.match(span):
        output = [c._replace(words=(*c.words, LEFT)) for c in commands_of(span)]
        return next((why for c in output if (why := fault(c, one))), None)
    return None
