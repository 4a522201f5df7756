"""``manage.py api_token``: create, list and revoke the tokens of the HTTP API."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from rich.table import Table

from webapp.api.models import DEFAULT_PER_MINUTE, MAX_PER_MINUTE, Scope, Token
from webapp.api.tokens import create_token, revoke_token
from webapp.ops.cli import FAILED, command
from webapp.ops.cli.command import number_between
from webapp.ops.cli.console import Console

EPILOG = f"""
scopes: {", ".join(Scope.values)}

exit status:
  0    done
  2    refused; the message says what to do

examples:
  manage.py api_token create shop --scope orders:write --scope orders:read
  manage.py api_token create importer --scope products:write --days 30
  manage.py api_token list
  manage.py api_token revoke 3
"""


class Command(command.Command):
    help = "Create, list and revoke the tokens of the HTTP API. A token is shown once, when it is created."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One subcommand for each action."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
        create = actions.add_parser("create", help="create a token and print it")
        create.add_argument("name", help="which client uses it")
        create.add_argument("--scope", action="append", choices=Scope.values, required=True, dest="scopes")
        create.add_argument(
            "--days",
            type=number_between(1, 3650),
            metavar="N",
            help="days until it expires; never unless given",
        )
        create.add_argument(
            "--per-minute",
            type=number_between(1, MAX_PER_MINUTE),
            default=DEFAULT_PER_MINUTE,
            metavar="N",
            help=f"requests per minute ({DEFAULT_PER_MINUTE})",
        )
        actions.add_parser("list", help="list the tokens, without their secrets")
        revoke = actions.add_parser("revoke", help="end a token at once")
        revoke.add_argument("id", type=int, help="the token's number in the list")
        for action in actions.choices.values():
            action.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        """Do it and print the result on standard output, for scripts."""
        as_json = options["json"]
        match options["action"]:
            case "create":
                days = options["days"]
                made = create_token(
                    options["name"],
                    options["scopes"],
                    per_minute=options["per_minute"],
                    lifetime=None if days is None else timedelta(days=days),
                )
                found = {"id": made.token.pk, "token": made.secret}
                self.stdout.write(json.dumps(found) if as_json else made.secret)
                self.stderr.write(f"Token {made.token.pk} is created. Its secret is not shown again.")
            case "list":
                tokens = [_as_dict(token) for token in Token.objects.order_by("id")]
                if as_json:
                    self.stdout.write(json.dumps({"tokens": tokens}))
                else:
                    _show(tokens)
            case "revoke":
                number = options["id"]
                if not revoke_token(number):
                    fault = f"There is no valid token {number}. See: api_token list"
                    raise CommandError(fault, returncode=FAILED)
                text = f"Token {number} is revoked."
                self.stdout.write(json.dumps({"revoked": number}) if as_json else text)


def _show(tokens: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "id",
        "name",
        "prefix",
        "scopes",
        "per_minute",
        "expires_at",
        "revoked_at",
        "last_used_at",
    ):
        table.add_column(column)
    for token in tokens:
        cells = {**token, "scopes": ", ".join(token["scopes"])}
        table.add_row(*(str(cells[str(column.header)] or "") for column in table.columns))
    Console(highlight=False).print(table)


def _as_dict(token: Token) -> dict[str, Any]:
    moments = {
        name: value.isoformat() if (value := getattr(token, name)) else None
        for name in ("created_at", "expires_at", "revoked_at", "last_used_at")
    }
    return {"id": token.pk, "name": token.name, "prefix": token.prefix, "scopes": token.scopes,
            "per_minute": token.per_minute, **moments}  # fmt: skip
