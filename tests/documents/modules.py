"""Checks the arguments of ``python -m …`` and of pytest by the programs themselves."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.time_scale import scaled

PARSE_ONLY = """
import argparse, runpy, sys
parse = argparse.ArgumentParser.parse_args
def only(*given, **options):
    parsed = parse(*given, **options)
    known = set(__import__("benchmarks.experiments").experiments.EXPERIMENTS)
    if unknown := set(filter(None, getattr(parsed, "only", "").split(","))) - known:
        sys.exit(f"no part {unknown}")
    sys.exit(0)
argparse.ArgumentParser.parse_args = only
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a module until it has parsed its arguments."""


@cache
def module_fault(module: str, arguments: tuple[str, ...]) -> str | None:
    """Return the error of the module's own parser, or None."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        return f"no module {module}"
    if not arguments:
        return None
    argv = [sys.executable, "-c", PARSE_ONLY, module, *arguments]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=scaled(60), check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else None


def pytest_fault(arguments: Sequence[str]) -> str | None:
    """Return paths that do not exist, words of ``-k`` that select nothing, and unknown options."""
    words = [word for word in arguments if word != "…"]
    while words:
        word = words.pop(0)
        if word == "-k":
            chosen = re.findall(r"\w+", words.pop(0) if words else "")
            if vain := [part for part in chosen if part not in {"and", "or", "not"} and not selects(part)]:
                return f"-k {vain[0]} selects nothing"
        elif word.startswith("-"):
            option = word.partition("=")[0]
            if not re.search(rf"(?<![\w-]){re.escape(option)}\b", pytest_help()):
                return f"pytest has no {option} here"
        elif not word.isdigit():
            file, _, test = word.partition("::")
            if not Path(ROOT, file).exists() or (test and test not in Path(ROOT, file).read_text()):
                return f"no {word}"
    return None


@cache
def pytest_help() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout


def selects(part: str) -> bool:
    """Return whether a word of ``-k`` is part of the name of a test, its file or a folder above it."""
    return any(part.lower() in name for name in test_names())


@cache
def test_names() -> frozenset[str]:
    files = list(Path(ROOT, "tests").rglob("test_*.py"))
    found = {part for file in files for part in file.relative_to(ROOT).parts}
    for file in files:
        found |= {
            node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)
        }
    return frozenset(name.lower() for name in found)
