"""Follows the guide literally in an empty folder: writes its files, types its commands, and runs its saga.

Two things differ: the packages are those of this run, and the servers are private. Only the packages that the
guide's ``pip install`` brings can be imported, and only the engine of this project.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.documents.expected_output import missing_lines
from tests.documents.markdown import Block, page
from tests.support.janitor import janitor
from tests.support.postgres import Postgres
from tests.support.processes import ROOT, Process
from tests.support.time_scale import scaled

GUIDE = page("docs/GETTING_STARTED.md")
INSTALLED_OTHERWISE = re.compile(r"git clone |mkdir trip|python3 -m venv |pip install ")
ADDRESS = re.compile(r"export (\w+_URL)=\S+example\.org\S*")
NAMES = ("desk", "hotel", "airline")


REFUSE = """
import sys
REFUSED = set({})
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name in REFUSED:
            raise ModuleNotFoundError(f"{{name}} is not among what the guide installs", name=name)
sys.meta_path.insert(0, NotInstalled())
"""
"""Makes Python refuse to import what the guide does not install."""


def required_packages() -> list[Requirement]:
    """Return the packages that the guide installs, and the requirements of the clone."""
    [line] = [line for line in GUIDE.commands if line.startswith("pip install ")]
    clone, *others = shlex.split(line)[2:]
    [made] = [line.split()[-1] for line in GUIDE.commands if line.startswith("git clone ")]
    [(folder, extras)] = re.findall(r"\.\./(\w+)\[([\w,]+)\]$", clone)
    assert folder == made
    project = tomllib.loads(Path(ROOT, "pyproject.toml").read_text())["project"]
    own = [
        *project["dependencies"],
        *(one for extra in extras.split(",") for one in project["optional-dependencies"][extra]),
    ]
    return [Requirement(text) for text in [*own, *others]]


def installed() -> set[str]:
    """Return all packages that these bring, as installed in this run."""
    left, found = required_packages(), set()
    while left:
        wanted = left.pop()
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in found:
            continue
        found.add((name, frozenset(wanted.extras)))
        for needed in map(Requirement, metadata.requires(name) or []):
            if not needed.marker or any(
                needed.marker.evaluate({"extra": extra}) for extra in (*wanted.extras, "")
            ):
                left.append(needed)
    return {name for name, _ in found}


def not_installed() -> set[str]:
    """Return the modules of this run that the guide does not install."""
    there = installed() | {"pip", "setuptools"}
    return {
        module
        for module, dists in metadata.packages_distributions().items()
        if not there & set(map(canonicalize_name, dists))
    }


@pytest.fixture
def project() -> Path:
    """The guide's folder with its files; besides its packages, only the engine can be imported."""
    folder = janitor().folder("guide")
    Path(folder, "site").mkdir()
    Path(folder, "site", "ordersaga").symlink_to(ROOT / "ordersaga")
    Path(folder, "site", "sitecustomize.py").write_text(REFUSE.format(sorted(not_installed())))
    for name, text in GUIDE.files.items():
        Path(folder, name).write_text(text)
    return folder


@pytest.fixture
def addresses(postgres: Postgres, vhost: str) -> Iterator[dict[str, str]]:
    """The URLs of real, empty servers, by the guide's variables."""
    postgres.ensure()
    for name in NAMES:
        postgres.create_role(name)
    made = {f"{name.upper()}_DATABASE_URL": postgres.create_database(f"guide_{name}", name) for name in NAMES}
    yield {**made, "ORDERSAGA_BROKER_URL": vhost}
    postgres.drop_databases(*(f"guide_{name}" for name in NAMES))


@pytest.fixture
def bash(project: Path) -> Iterator[Callable[..., str]]:
    """Runs a script in the guide's folder; returns its output."""
    started: list[Process] = []
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {
        "PYTHONPATH": str(project / "site"),
        "PATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "LC_ALL": "C.UTF-8",
    }

    def run(script: str, *, status: int = 0) -> str:
        """Run a script with a timeout that is long enough for a busy machine; on failure show the pools'
        logs.
        """
        process = Process(
            "guide", ["timeout", f"{scaled(170):.0f}", "bash", "-c", script], env=env, cwd=project
        )
        started.append(process)
        process.start()
        ended = process.wait(180)
        assert ended == status, "\n".join(
            [process.logs(), *(log.read_text() for log in project.glob("*.log"))]
        )
        return process.logs()

    yield run
    for process in started:
        process.stop(timeout=10)


def script(blocks: list[Block], addresses: dict[str, str]) -> str:
    """Return all typed commands, with a line between the blocks that separates their outputs."""
    lines = ["set -e"]
    for block in blocks:
        typed = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
        typed = [line for line in typed if not INSTALLED_OTHERWISE.search(line)]
        here = [
            ADDRESS.sub(lambda m: f"export {m[1]}={shlex.quote(addresses[m[1]])}", line) for line in typed
        ]
        lines += [f"echo '--- line {block.line}'", *here]
    return "\n".join(lines)


@pytest.mark.timeout(240)  # some twenty Python processes, one after the other
def test_following_the_guide_gives_a_running_saga(
    bash: Callable[..., str], addresses: dict[str, str]
) -> None:
    blocks = GUIDE.blocks_of("console")

    output = bash(script(blocks, addresses))

    parts = re.split(r"^--- line (\d+)\n", output, flags=re.MULTILINE)[1:]
    outputs = {int(line): text.splitlines() for line, text in zip(parts[::2], parts[1::2], strict=True)}
    assert set(outputs) == {block.line for block in blocks}
    assert {
        block.line: broken for block in blocks if (broken := missing_lines(block, outputs[block.line]))
    } == {}
    ends = re.findall(r"^(ann|bob|cid|dot) (\w+ .*)$", output, re.MULTILINE)
    both_times = ["CONFIRMED", "CONFIRMED", "ROLLED_BACK Hotel full", "ROLLED_BACK Plane full"]
    assert sorted(end.strip() for _, end in ends) == sorted(both_times * 2)


def test_the_guide_needs_neither_django_nor_test_tools(bash: Callable[..., str]) -> None:
    assert "not among what the guide installs" in bash("python -c 'import django'", status=1)
    assert {"django", "structlog", "rich", "hypothesis", "playwright"} <= not_installed()
    assert not {"celery", "kombu", "sqlalchemy", "psycopg2", "pgmq", "pytest", "pydantic"} & not_installed()


def test_a_missing_undo_fails_with_the_guides_message(bash: Callable[..., str], project: Path) -> None:
    trip = Path(project, "trip.py")
    trip.write_text(re.sub(r"@hold_room\.undo\n(?:.*\n){2}", "", trip.read_text()))
    urls = "".join(f"export {name.upper()}_DATABASE_URL=postgresql://nowhere/{name}\n" for name in NAMES)
    [expected] = GUIDE.blocks_of("text")

    message = bash(f"{urls}python -c 'import trip'", status=1)

    assert message.splitlines()[-1] == expected.text.strip()


def test_the_saga_takes_no_more_than_forty_lines() -> None:
    lines = [
        line for line in GUIDE.files["trip.py"].splitlines() if line.strip() and not line.startswith("#")
    ]
    participants = ast.literal_eval(re.findall(r"NAMES = (.*)", GUIDE.files["trip.py"])[0])

    assert len(lines) <= 40
    assert len(participants) == 3


def test_the_wheel_contains_the_engines_data_files() -> None:
    patterns = tomllib.loads(Path(ROOT, "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "ordersaga"
    ]
    engine = Path(ROOT, "ordersaga")
    others = {file for file in engine.rglob("*") if file.is_file() and file.suffix not in {".py", ".pyc"}}

    assert others == {file for pattern in patterns for file in engine.glob(pattern)}
