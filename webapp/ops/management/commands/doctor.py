"""``manage.py doctor``: find faults of the running servers and name a remedy for each."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from typing import Any

import psycopg2
from django.core.management.base import CommandError

from ordersaga.errors import OrderSagaError
from webapp.ops.broker import Management
from webapp.ops.cli import FAILED, command
from webapp.ops.cli.console import Console
from webapp.ops.doctor.finding import findings_as_json, show_findings
from webapp.ops.doctor.run import examine
from workers.settings import settings

FAULTY = 1
EPILOG = """
exit status:
  0    no finding, or only warnings
  1    at least one error
  2    the examination failed; the message names the reason
  130  Ctrl-C

examples:
  manage.py doctor --no-pools                           before pools start
  manage.py doctor                                      after a deploy
  manage.py doctor --json | jq -r '.findings[].code'    for monitoring
  manage.py doctor --rabbitmq-admin http://mq:15672     with another address
"""


class Command(command.Command):
    help = (
        "Check the running broker and databases: settings, roles, clocks, tables, queues. Each finding names "
        "a remedy. Nothing is changed."
    )
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rabbitmq-admin", metavar="URL", default="",
            help="RabbitMQ's management interface (port 15672 of the broker's host, with the broker's user)",
        )  # fmt: skip
        parser.add_argument(
            "--no-pools",
            action="store_true",
            help="do not report pools that are not running, as before their first start",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        from workers.choreography import choreography

        logging.getLogger("alembic").setLevel(logging.WARNING)  # hides its banner
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
                f"A database cannot be read: {str(error).strip()}", returncode=FAILED
            ) from error
        if options["json"]:
            self.stdout.write(findings_as_json(findings))
        else:
            show_findings(findings, Console(highlight=False))
        if any(finding.level == "error" for finding in findings):
            sys.exit(FAULTY)
