"""``manage.py provision``: create databases, roles, virtual host and queues on existing servers."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from typing import Any

import psycopg2
from django.core.management.base import CommandError

from ordersaga.database import first_line
from ordersaga.errors import OrderSagaError
from webapp.mirrors.router import DOMAINS as MIRRORED
from webapp.ops import broker
from webapp.ops.broker import Management, ManagementError
from webapp.ops.cli import FAILED, command
from webapp.ops.cli.console import Bar, Console, show_bar
from webapp.ops.provision import CannotProvision, Plan
from webapp.ops.provision.broker import ensure_broker, ensure_topology, find_other_vhosts, require_broker
from webapp.ops.provision.postgres import Target, ensure_database
from webapp.ops.provision.reader import ensure_reader
from workers.settings import DOMAINS, PREFIX, Domain, Settings, settings

MISSING = 1
ALL = ""
EPILOG = """
Names and passwords come from ORDERSAGA_…_DATABASE_URL, ORDERSAGA_…_READER_URL and ORDERSAGA_BROKER_URL. A
server without an administrator's address is skipped. Afterwards run manage.py migrate and manage.py doctor.

exit status:
  0    everything exists
  1    with --dry-run: something is missing
  2    provisioning failed; the message names the remedy
  130  Ctrl-C; what was created is kept, run it again for the rest

examples:
  manage.py provision --dry-run --postgres-admin postgresql://me:a@db/postgres
  manage.py provision --change-queues
      only changes queues, as the pools' user, with the management interface of the broker's host
  manage.py provision --postgres-admin orders=postgresql://me:a@db1/postgres \\
      --postgres-admin inventory=postgresql://me:b@db2/postgres \\
      --postgres-admin payments=postgresql://me:c@db3/postgres
  PROVISION_POSTGRES_ADMIN=postgresql://… manage.py provision
      keeps the password out of the process list
"""


class Command(command.Command):
    help = (
        "Create what is missing on existing servers: databases, roles with access to their own database "
        "only, "
        "virtual host, user, queues. Existing objects are kept, so it can run again at any time."
    )
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--postgres-admin", action="append", default=[], metavar="[DOMAIN=]URL",
            help="the address of a superuser, for all databases or for one domain: orders, inventory, "
                 "payments or "
            "broker (default: PROVISION_POSTGRES_ADMIN)",
        )  # fmt: skip
        parser.add_argument(
            "--rabbitmq-admin", metavar="URL", default="",
            help="RabbitMQ's management interface with an administrator, http://admin:password@host:15672 "
            "(default: PROVISION_RABBITMQ_ADMIN)",
        )  # fmt: skip
        parser.add_argument(
            "--change-queues",
            action="store_true",
            help="also change the arguments of queues that another release declared; messages are kept, "
            "pools may "
            "run, and each participant pauses for about 20 seconds",
        )
        parser.add_argument("--dry-run", action="store_true", help="list what is missing and change nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        word = "missing" if options["dry_run"] else "created"
        quiet = options["json"] or not options["verbosity"]
        try:
            with show_bar(Console(stderr=True), hidden=quiet) as under_way:
                plan = Plan(
                    options["dry_run"],
                    lambda what: None if quiet else self._say(f"{word}: {what}", under_way),
                )
                left_alone = self._provision(plan, settings(), options, under_way)
        except (CannotProvision, OrderSagaError) as error:
            raise CommandError(str(error), returncode=FAILED) from error
        except psycopg2.Error as error:
            raise CommandError(f"PostgreSQL refused: {first_line(error)}", returncode=FAILED) from error
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {
                        "dry_run": plan.dry,
                        "missing" if plan.dry else "made": plan.missing,
                        "left_alone": left_alone,
                    },
                    indent=2,
                )
            )
        elif not quiet:
            for part in left_alone:
                self.stdout.write(f"skipped: {part}")
            self.stdout.write(f"{len(plan.missing)} {word}" if plan.missing else "nothing is missing")
        if plan.dry and plan.missing:
            sys.exit(MISSING)

    def _say(self, line: str, under_way: Bar) -> None:
        with under_way.aside():
            self.stdout.write(line)

    def _provision(self, plan: Plan, ours: Settings, options: dict[str, Any], under_way: Bar) -> list[str]:
        """Return what was skipped."""
        admins = _admins(
            options["postgres_admin"] or [a for a in [os.environ.get("PROVISION_POSTGRES_ADMIN", "")] if a]
        )
        management = options["rabbitmq_admin"] or os.environ.get("PROVISION_RABBITMQ_ADMIN", "")
        if not admins and not management and not options["change_queues"]:
            raise CannotProvision(
                "There is nothing to do: use --postgres-admin URL, --rabbitmq-admin URL, or both"
            )
        left_alone = []
        for done, domain in enumerate(DOMAINS):
            under_way(domain, done, len(DOMAINS) + 1)
            if admin := admins.get(domain, admins.get(ALL)):
                _domain(plan, ours, domain, admin)
            else:
                left_alone.append(f"the {domain} database (no --postgres-admin)")
        under_way("broker", len(DOMAINS), len(DOMAINS) + 1)
        left_alone += _broker(plan, ours, admins, management, change_queues=options["change_queues"])
        return left_alone


def _admins(given: list[str]) -> dict[str, str]:
    """Return the addresses by domain; the one for all other domains under :data:`ALL`."""
    found = {}
    for each in given:
        domain, equals, url = each.partition("=")
        if "://" in domain or not equals:
            domain, url = ALL, each
        if domain not in (*DOMAINS, "broker", ALL) or not url.startswith(("postgresql://", "postgres://")):
            raise CannotProvision(
                "--postgres-admin: write postgresql://… or DOMAIN=postgresql://…, where DOMAIN is "
                f"{', '.join(DOMAINS)} or broker"
            )
        found[domain] = url
    return found


def _domain(plan: Plan, ours: Settings, domain: Domain, admin: str) -> None:
    owner = Target.of(ours.direct_variable(domain), ours.direct_url(domain))
    ensure_database(plan, admin, owner)
    if domain in MIRRORED and (url := getattr(ours, f"{domain}_reader_url", None)):
        ensure_reader(plan, admin, Target.of(f"{PREFIX}{domain.upper()}_READER_URL", url), owner)


def _broker(
    plan: Plan, ours: Settings, admins: dict[str, str], management: str, *, change_queues: bool
) -> list[str]:
    from workers.choreography import choreography

    if ours.broker_url.startswith("pgmq"):
        admin = admins.get("broker", admins.get(ALL))
        if not admin:
            return ["the embedded broker (no --postgres-admin)"]
        place = Target.of(f"{PREFIX}BROKER_URL", ours.broker_url)
        before = len(plan.missing)
        ensure_database(plan, admin, place)
        if not (plan.dry and len(plan.missing) > before):
            ensure_topology(plan, ours.broker_url, choreography())
        return []
    return _rabbitmq(plan, ours, management, change_queues=change_queues)


def _rabbitmq(plan: Plan, ours: Settings, management: str, *, change_queues: bool) -> list[str]:
    from workers.choreography import choreography

    if not ours.broker_url.startswith(broker.AMQP_SCHEMES):
        raise CannotProvision(
            f"{PREFIX}BROKER_URL names an unsupported broker: {broker.scheme_of(ours.broker_url)}. "
            f"{broker.SUPPORTED}"
        )
    if not management and change_queues:  # needs no administrator: the pools' user may declare queues
        ensure_topology(plan, ours.broker_url, choreography(), change_queues=True)
        return []
    if not management:
        return ["RabbitMQ (no --rabbitmq-admin)"]
    try:
        host = Management(management)
    except ValueError as error:
        raise CannotProvision(f"--rabbitmq-admin: {error}") from error
    require_broker(ours.broker_url)
    if ensure_broker(plan, host, ours.broker_url):
        ensure_topology(plan, ours.broker_url, choreography(), host.url, change_queues=change_queues)
    elif plan.dry:
        plan.ensure("exchanges, queues and bindings", lambda: None)
    try:
        return [
            f"virtual host {vhost}, to which the broker's user also has access"
            for vhost in find_other_vhosts(host, ours.broker_url)
        ]
    except ManagementError:
        return []
