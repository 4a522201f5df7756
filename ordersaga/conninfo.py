"""Parse connection strings of PostgreSQL with libpq's parser, and add default options.

All processes parse their strings here, so that each accepts all that libpq accepts: several hosts,
``sslmode``, ``target_session_attrs``, ``service``, ``passfile`` and more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from ordersaga.errors import InvalidConnectionString

DEFAULTS: Mapping[str, str] = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""Default options. A lost peer is noticed after 30 seconds: idle + count × interval, or as long with
unacknowledged data. ``connect_timeout`` is in seconds, for each host.
"""

EXAMPLE = "write postgresql://user:password@host:5432/database"

_SCHEME = re.compile(r"^(?:postgres(?:ql)?(?:\+\w+)?|pgmq)://")
_NUMBERS = ("connect_timeout", *(name for name in DEFAULTS if name != "connect_timeout"))
_WORDS = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "target_session_attrs": {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"},
    "load_balance_hosts": {"disable", "random"},
}


def parse(text: str) -> dict[str, str]:
    """Parse a connection string: a URL or ``name=value`` pairs.

    The scheme of a URL may name a driver (``postgresql+psycopg2://``) or the embedded broker (``pgmq://``).

    :raises InvalidConnectionString: when libpq cannot read it; the message quotes no part of it.
    """
    if "://" in text.partition("=")[0] and not _SCHEME.match(text):
        raise InvalidConnectionString(f"a database address begins with postgresql://; {EXAMPLE}")
    try:
        options: dict[str, str] = parse_dsn(_SCHEME.sub("postgresql://", text))
    except psycopg2.ProgrammingError as error:
        raise InvalidConnectionString(f"{_fault(str(error))}; {EXAMPLE}") from None
    _check(options)
    return options


def parse_address(text: str) -> dict[str, str]:
    """As :func:`parse`, for a setting: a URL with a database or a service.

    :raises InvalidConnectionString: also when it has neither.
    """
    if not _SCHEME.match(text):
        raise InvalidConnectionString(f"a database address begins with postgresql://; {EXAMPLE}")
    options = parse(text)
    if not options.get("dbname") and not options.get("service"):
        raise InvalidConnectionString(
            "a database address ends with the database's name: postgresql://user@host/name"
        )
    return options


def connection_options(text: str, **options: str) -> dict[str, str]:
    """The options of a connection: :data:`DEFAULTS`, overridden by the string, overridden by ``options``."""
    return {**DEFAULTS, **parse(text), "client_encoding": "UTF8", **options}


def connection_string(options: Mapping[str, str]) -> str:
    """Format options as ``name=value`` pairs, for libpq, psycopg and :func:`parse`."""
    return str(make_dsn(**options))


def hosts(options: Mapping[str, str]) -> list[str]:
    """The hosts by name or address; a socket directory begins with a slash, libpq's default is empty."""
    return (options.get("hostaddr") or options.get("host") or "").split(",")


def is_option(name: str) -> bool:
    """Whether libpq knows a connection option of this name."""
    try:
        parse_dsn(f"{name}=x")
    except psycopg2.ProgrammingError:
        return False
    return True


def _fault(message: str) -> str:
    """The fault that libpq reports, without its quotation, which may be a part of the password."""
    if "invalid URI query parameter" in message or "invalid connection option" in message:
        return "a database address has an option that libpq does not know"
    if "percent-encoded" in message or "%00" in message:
        return "a database address has a percent sign that encodes nothing: write it as %25"
    return "a database address cannot be read by libpq"


def _check(options: Mapping[str, str]) -> None:
    """Check what libpq would check only when it connects."""
    ports, places = options.get("port", "").split(","), hosts(options)
    if not all(
        port == "" or (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536) for port in ports
    ):
        raise InvalidConnectionString("a database address has a port that is not a number from 1 to 65535")
    if len(ports) not in (1, len(places)):
        raise InvalidConnectionString(f"a database address has {len(places)} hosts and {len(ports)} ports")
    for name in _NUMBERS:
        if not re.fullmatch(r"\s*-?\d{1,9}\s*", options.get(name, "0"), re.ASCII):
            raise InvalidConnectionString(f"a database address has an option {name} that is not a number")
    for name, allowed in _WORDS.items():
        if options.get(name, "") not in {"", *allowed}:
            raise InvalidConnectionString(
                f"a database address has an option {name} that is not one of {', '.join(sorted(allowed))}"
            )
