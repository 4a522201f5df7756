"""A virtual host of its own, and a user who may do everything there and nothing anywhere else."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from webapp.ops.broker import Management, ManagementError, vhost_of
from webapp.ops.provision.plan import CannotProvision, Work

TAGS = ["management"]
"""Lets the user look at its own virtual host, so that the doctor sees bindings and policies; it changes
nothing.
"""
ALL = {"configure": ".*", "write": ".*", "read": ".*"}


def ensure_broker(work: Work, admin: Management, url: str) -> bool:
    """Virtual host, user and permissions. Whether they are there now.

    :raises CannotProvision: when the administrator may not, or the address names no user of its own.
    """
    parts = urlsplit(url.split(";", maxsplit=1)[0])
    user, password, vhost = unquote(parts.username or ""), unquote(parts.password or ""), vhost_of(url)
    if user in {"", "guest"} or not password:
        raise CannotProvision(
            "ORDERSAGA_BROKER_URL must name a user of its own: amqp://pools:password@host:5672/ordersaga"
        )
    try:
        return _ensure_broker(work, admin, user, password, vhost)
    except ManagementError as error:
        remedy = "Give an administrator: --rabbitmq-admin http://admin:password@host:15672"
        raise CannotProvision(f"--rabbitmq-admin: {error}. {remedy}") from error


def _ensure_broker(work: Work, admin: Management, user: str, password: str, vhost: str) -> bool:
    if admin.get("whoami").get("name") == user:
        raise CannotProvision(
            "ORDERSAGA_BROKER_URL names the administrator itself; give the pools a user of their own"
        )
    there = admin.get("vhosts", vhost) is not None or work.need(
        f"virtual host {vhost}", lambda: admin.put("vhosts", vhost, default_queue_type="quorum")
    )
    known = _user(work, admin, user, password)
    if not (there and known):
        return False
    given = admin.get("permissions", vhost, user) or {}
    if {name: given.get(name) for name in ALL} != ALL:
        there = work.need(
            f"permissions of {user} on {vhost}", lambda: admin.put("permissions", vhost, user, **ALL)
        )
    return there


def _user(work: Work, admin: Management, user: str, password: str) -> bool:
    found = admin.get("users", user)
    make = {"password": password, "tags": ",".join(TAGS)}
    if found is None:
        return work.need(f"user {user}", lambda: admin.put("users", user, **make))
    tags = (
        found["tags"] if isinstance(found["tags"], list) else [tag for tag in found["tags"].split(",") if tag]
    )
    if tags != TAGS:
        return work.need(f"user {user} with the tag {TAGS[0]} alone (not {', '.join(tags) or 'none'})",
                         lambda: admin.put("users", user, **make)) or True  # fmt: skip
    try:
        Management(admin.url, user, password).get("whoami")
    except ManagementError as error:
        if error.status != 401:
            raise
        return work.need(f"password of user {user}", lambda: admin.put("users", user, **make))
    return True


def elsewhere(admin: Management, url: str) -> list[str]:
    """Other virtual hosts that the user may enter: not ours to close."""
    user = unquote(urlsplit(url.split(";", maxsplit=1)[0]).username or "")
    return sorted(
        p["vhost"] for p in admin.get("users", user, "permissions") or [] if p["vhost"] != vhost_of(url)
    )
