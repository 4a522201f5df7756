"""``manage.py doctor``: what of the running servers is not as it should be, each with its remedy."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from typing import Any

import psycopg2
from django.core.management.base import CommandError

from ordersaga.errors import OrderSagaError
from webapp.ops.broker import Management
from webapp.ops.cli import command
from webapp.ops.cli.console import Console
from webapp.ops.cli.main import FAILED
from webapp.ops.doctor.finding import findings_as_json, show_findings
from webapp.ops.doctor.run import examine
from workers.settings import settings

ILL = 1
EPILOG = """
exit status:
  0    nothing found, or warnings only
  1    at least one error
  2    it could not look; the message says why
  130  Ctrl-C

examples:
  manage.py doctor --no-pools                           before the pools are started
  manage.py doctor                                      after a deploy
  manage.py doctor --json | jq -r '.findings[].code'    for a monitor
  manage.py doctor --rabbitmq-admin http://mq:15672     where it is elsewhere
"""


class Command(command.Command):
    help = (
        "Read the running broker and databases, and name what is not as it should be: settings, roles, clocks, tables, "
        "queues. Changes nothing."
    )
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rabbitmq-admin", metavar="URL", default="",
            help="RabbitMQ's management interface (http://<the broker's host>:15672, with the broker's user)",
        )  # fmt: skip
        parser.add_argument(
            "--no-pools",
            action="store_true",
            help="do not report pools that are not running, as before their first start",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        from workers.choreography import choreography

        logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells what it is when it is only asked
        try:
            if options["rabbitmq_admin"]:
                Management(options["rabbitmq_admin"])
            findings = examine(
                settings(),
                choreography(),
                management=options["rabbitmq_admin"],
                pools_running=not options["no_pools"],
            )
        except ValueError as error:
            raise CommandError(f"--rabbitmq-admin: {error}", returncode=FAILED) from error
        except OrderSagaError as error:
            raise CommandError(str(error), returncode=FAILED) from error
        except psycopg2.Error as error:
            raise CommandError(
                f"A database refused to be read: {str(error).strip()}", returncode=FAILED
            ) from error
        if options["json"]:
            self.stdout.write(findings_as_json(findings))
        else:
            show_findings(findings, Console(highlight=False))
        if any(finding.level == "error" for finding in findings):
            sys.exit(ILL)
