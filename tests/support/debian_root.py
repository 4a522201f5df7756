"""Provides other versions of PostgreSQL and RabbitMQ: a Debian system of another suite in its own directory.

``python -m tests.support.debian_root stable /srv/debian-stable`` creates one, as root, on Debian or Ubuntu.
It changes nothing outside the directory, and starts no service of the new system. ``make test
ARGS="--rabbitmq=DIR --postgres=DIR"`` then runs its servers.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.programs import Programs, install, say

PACKAGES = ("rabbitmq-server", "postgresql")
SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")
MIRROR = "http://deb.debian.org/debian"
HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


def mirror() -> str:
    """Return the Debian mirror in this machine's apt configuration."""
    for source in map(Path, SOURCES):
        text = source.read_text() if source.exists() else ""
        if found := re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?) *(\S+/debian)/?\s", text, re.MULTILINE):
            return found[1]
    return MIRROR


def make(suite: str, directory: Path) -> None:
    """Create a minimal system of ``suite`` with the servers' packages; continue an interrupted call.

    :raises subprocess.CalledProcessError: if debootstrap or apt-get fails.
    """
    if not (directory / "etc" / "debian_version").exists():
        subprocess.run(["debootstrap", "--variant=minbase", suite, directory, mirror()], check=True)
    policy = directory / "usr" / "sbin" / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    (directory / "etc" / "hosts").write_text(HOSTS)
    cluster = directory / "etc" / "postgresql-common" / "createcluster.conf"
    cluster.parent.mkdir(parents=True, exist_ok=True)
    cluster.write_text("create_main_cluster = false\n")
    apt = [
        "apt-get",
        "-q",
        "-y",
        "-o",
        "Dpkg::Use-Pty=0",
        "-o",
        "Dpkg::Options::=--force-confold",
    ]  # our createcluster.conf
    command = Programs(Path("/usr/bin"), directory).argv(
        *apt, "install", "--no-install-recommends", *PACKAGES
    )
    subprocess.run(command, check=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.support.debian_root", description=__doc__)
    parser.add_argument("suite", help="Debian's suite: stable, testing, unstable")
    parser.add_argument("directory", type=Path, help="the new system's root directory")
    given = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        say("this needs root, on Debian or Ubuntu")
        return 1
    try:
        if not shutil.which("debootstrap"):
            install(["debootstrap"])
        make(given.suite, given.directory.resolve())
    except subprocess.CalledProcessError as error:
        say(f"{error.cmd[0]} failed with exit status {error.returncode}; run it again to continue")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
