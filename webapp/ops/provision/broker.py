"""Provision the broker: virtual host, user, permissions, exchanges, queues and bindings."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import amqp
from kombu.exceptions import KombuError

from ordersaga.celery.queue_change import QueueChangeError
from ordersaga.celery.topology import declare
from ordersaga.choreography import Choreography
from ordersaga.database import first_line
from webapp.ops import broker
from webapp.ops.broker import Management, ManagementError, vhost_of
from webapp.ops.doctor import pgmq
from webapp.ops.doctor.database import Database
from webapp.ops.doctor.finding import Finding
from webapp.ops.doctor.rabbitmq import RabbitMQ
from webapp.ops.provision.plan import CannotProvision, Plan

USER_TAGS = ["management"]
"""Allows the user to read its virtual host through the management interface, as the doctor does."""
ALL_PERMISSIONS = {"configure": ".*", "write": ".*", "read": ".*"}


def ensure_broker(plan: Plan, admin: Management, url: str) -> bool:
    """Ensure virtual host, user and permissions; return whether they exist now.

    :raises CannotProvision: when the administrator lacks permissions, or the address names no separate user.
    """
    parts = urlsplit(url.split(";", maxsplit=1)[0])
    user, password, vhost = unquote(parts.username or ""), unquote(parts.password or ""), vhost_of(url)
    if user in {"", "guest"} or not password:
        raise CannotProvision(
            "ORDERSAGA_BROKER_URL must name a separate user: amqp://pools:password@host:5672/ordersaga"
        )
    try:
        return _ensure_broker(plan, admin, user, password, vhost)
    except ManagementError as error:
        remedy = "Use an administrator: --rabbitmq-admin http://admin:password@host:15672"
        raise CannotProvision(f"--rabbitmq-admin: {error}. {remedy}") from error


def _ensure_broker(plan: Plan, admin: Management, user: str, password: str, vhost: str) -> bool:
    if admin.get("whoami").get("name") == user:
        raise CannotProvision(
            "ORDERSAGA_BROKER_URL names the administrator itself; use a separate user for the pools"
        )
    there = admin.get("vhosts", vhost) is not None or plan.ensure(
        f"virtual host {vhost}", lambda: admin.put("vhosts", vhost, default_queue_type="quorum")
    )
    known = _ensure_user(plan, admin, user, password)
    if not (there and known):
        return False
    given = admin.get("permissions", vhost, user) or {}
    if {name: given.get(name) for name in ALL_PERMISSIONS} != ALL_PERMISSIONS:
        there = plan.ensure(
            f"permissions of {user} on {vhost}",
            lambda: admin.put("permissions", vhost, user, **ALL_PERMISSIONS),
        )
    return there


def _ensure_user(plan: Plan, admin: Management, user: str, password: str) -> bool:
    found = admin.get("users", user)
    make = {"password": password, "tags": ",".join(USER_TAGS)}
    if found is None:
        return plan.ensure(f"user {user}", lambda: admin.put("users", user, **make))
    tags = (
        found["tags"] if isinstance(found["tags"], list) else [tag for tag in found["tags"].split(",") if tag]
    )
    if tags != USER_TAGS:
        return plan.ensure(f"user {user} with the tag {USER_TAGS[0]} alone (not {', '.join(tags) or 'none'})",
                         lambda: admin.put("users", user, **make)) or True  # fmt: skip
    try:
        Management(admin.url, user, password).get("whoami")
    except ManagementError as error:
        if error.status != 401:
            raise
        return plan.ensure(f"password of user {user}", lambda: admin.put("users", user, **make))
    return True


def find_other_vhosts(admin: Management, url: str) -> list[str]:
    """Return other virtual hosts that the user has access to; provisioning does not change them."""
    user = unquote(urlsplit(url.split(";", maxsplit=1)[0]).username or "")
    return sorted(
        p["vhost"] for p in admin.get("users", user, "permissions") or [] if p["vhost"] != vhost_of(url)
    )


def require_broker(url: str) -> None:
    """Check that a broker answers at the pools' address; an unknown user or virtual host is fine here.

    :raises CannotProvision: when none answers, as another broker would be provisioned then.
    """
    with broker.open_connection(url) as connection:
        try:
            connection.connect()
        except (amqp.AccessRefused, amqp.NotAllowed):  # no such user, no such virtual host
            return
        except (*connection.connection_errors, *connection.channel_errors) as error:
            remedy = "It must be an address of the broker that --rabbitmq-admin names"
            raise CannotProvision(f"ORDERSAGA_BROKER_URL: {first_line(error)}. {remedy}") from error


def ensure_topology(
    plan: Plan, url: str, choreography: Choreography, management: str = "", *, change_queues: bool = False
) -> None:
    """Ensure exchanges, queues and bindings, as the pools' user.

    :param change_queues: also change the arguments of existing queues; messages are kept, pools may run.
    :raises CannotProvision: when a queue has other arguments and may not or cannot be changed.
    """
    if change_queues and not url.startswith("pgmq"):  # the embedded broker changes them at any declaration
        _change_queues(plan, RabbitMQ(url, choreography, management))
    wrong = [
        f for f in _examine(url, choreography, management) if f.level == "error" and f.code != "broker-alarm"
    ]
    missing = [
        f"{f.where}: {f.evidence}" if f.code == "binding-missing" else f.where
        for f in wrong
        if _fixed_by_declaring(f)
    ]
    for what in missing[:-1]:
        plan.ensure(what, lambda: None)
    if missing:
        plan.ensure(missing[-1], lambda: _declare(url, choreography))
    differs = [f for f in wrong if not _fixed_by_declaring(f)]
    if differs and not (plan.dry and change_queues):
        raise CannotProvision("\n".join(f"{f.where}: {f.what} ({f.evidence}). {f.remedy}." for f in differs))


def _change_queues(plan: Plan, rabbitmq: RabbitMQ) -> None:
    try:
        for what, change in rabbitmq.queue_changes():
            plan.ensure(what, change)
    except (ManagementError, QueueChangeError, amqp.AMQPError, OSError) as error:
        raise CannotProvision(f"Queues could not be changed: {first_line(error)}") from error


def _fixed_by_declaring(finding: Finding) -> bool:
    """Return whether declaring corrects the finding."""
    return finding.code.endswith("-missing") or finding.code in {
        "broker-not-furnished",
        "broker-other-version",
    }


def _examine(url: str, choreography: Choreography, management: str) -> list[Finding]:
    if url.startswith("pgmq"):
        with Database("broker", url) as database:
            return list(pgmq.check_topology(database, choreography))
    return list(RabbitMQ(url, choreography, management).examine())


def _declare(url: str, choreography: Choreography) -> None:
    with broker.open_connection(url) as connection:
        try:
            declare(connection, choreography)
        except (*connection.connection_errors, *connection.channel_errors, KombuError) as error:
            raise CannotProvision(f"The broker refused the queues: {error}") from error
