"""Checks of the settings of this process."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from ordersaga.conninfo import hosts, parse
from webapp.ops.doctor.finding import Finding, error, warning
from workers.production_checks import unsafe_defaults
from workers.retention import minimum_retention
from workers.settings import PREFIX, Settings

URLS = ("orders_database_url", "inventory_database_url", "payments_database_url", "broker_url")


def check_settings(ours: Settings) -> Iterator[Finding]:
    """Check for unsafe defaults on other hosts, and for a retention shorter than redelivery."""
    away = [name for name in URLS if not _is_on_this_host(getattr(ours, name))]
    if ours.env == "production":
        for name, fault in unsafe_defaults(ours):
            yield error(
                "unsafe-default",
                f"{PREFIX}{name.upper()}",
                "production refuses this value",
                fault.partition(";")[0],
                _remedy(fault),
            )
    elif ours.env == "development" and away:
        yield warning(
            "not-called-production",
            f"{PREFIX}ENV",
            "servers run on other hosts, and unsafe defaults are allowed",
            f"{ours.env}, with {', '.join(away)} on other hosts",
            f"Set {PREFIX}ENV=production; it reports unsafe defaults",
        )
    if ours.retention <= (needed := minimum_retention(ours)):
        yield error(
            "retention-too-short",
            f"{PREFIX}RETENTION",
            "a message that is redelivered later would count as new",
            f"{ours.retention}, while messages may be redelivered for {needed}",
            f"Set it to more than {needed} (default: 90 days)",
        )


def _remedy(fault: str) -> str:
    return fault.partition("; ")[2].capitalize() or "Change it"


def _is_on_this_host(url: str) -> bool:
    """Return whether an address names this host."""
    if url.startswith(("postgres", "pgmq")):
        return all(_is_local(host) for host in hosts(parse(url)))
    return all(_is_local(urlsplit(node).hostname or "") for node in url.split(";"))


def _is_local(host: str) -> bool:
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
