"""Finds the URLs to measure: by the links of each list, and by typical searches."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from benchmarks.website import Website

LISTS = (
    "orders/order",
    "orders/saga",
    "orders/product",
    "audit/sagaevent",
    "audit/deadletter",
    "mirrors/stock",
    "mirrors/movement",
    "mirrors/wallet",
    "mirrors/ledgertransaction",
    "auth/user",
    "auth/group",
)
UNKNOWN_ID = "01999999-9999-7999-8999-999999999999"
ABSENT = {
    "orders/order": (
        "status=NOPE",
        "open=yes&attention=yes",
        "status=ROLLED_BACK&attention=yes",
        "status=ROLLED_BACK&last=1",
    ),
    "orders/saga": (
        "refusal=NothingOfTheKind",
        "status=CONFIRMED&refusal=OutOfStock",
        "status=PENDING&attention=yes",
        "o=3",
    ),
    "audit/sagaevent": (
        "kind=answer&again=yes",
        "kind=attention&again=yes",
        "kind=signal&again=yes",
        "kind=notice&again=yes",
    ),
    "audit/deadletter": (
        "outcome=replayed&error=NothingOfTheKind",
        "outcome=all&step=",
        "error=ValueError&participant=loyalty",
    ),
}
"""Filters that match no row, or few."""
FILTER = re.compile(r'<a href="\?([\w=&;+%.-]+)"')
MOVE = re.compile(r'<a href="\?(\S+?)"(?: rel="(?:next|prev)")?>(first|previous|next|last)</a>')


def page_urls(site: Website) -> list[str]:
    """Return all URLs, each once."""
    return list(
        dict.fromkeys(
            [*_fixed_urls(), *_list_urls(site), *_search_urls(site), *_object_urls(site), *_lookup_urls(site)]
        )
    )


def _fixed_urls() -> Iterator[str]:
    yield from ("/healthz", "/readyz", "/admin/", "/admin/orders/", "/admin/audit/", "/admin/mirrors/")
    yield from ("/admin/orders/order/place/", "/admin/audit/deadletter/groups/")


def _list_urls(site: Website) -> Iterator[str]:
    for listed in LISTS:
        page = f"/admin/{listed}/"
        text = site.site.get(page).text
        shown = text.partition('id="changelist-filter"')[2]
        queries = ["", *(html.unescape(query) for query in FILTER.findall(shown)), *ABSENT.get(listed, ())]
        for query in dict.fromkeys(queries):
            yield f"{page}?{query}".rstrip("?")
            yield from _paging_urls(site, page, query)


def _paging_urls(site: Website, page: str, query: str) -> Iterator[str]:
    """Yield the second page, the last, and the page before each."""
    found = _links(site, f"{page}?{query}")
    for name in ("next", "last"):
        if name in found:
            yield f"{page}?{found[name]}"
            back = _links(site, f"{page}?{found[name]}")
            if "previous" in back:
                yield f"{page}?{back['previous']}"


def _links(site: Website, page: str) -> dict[str, str]:
    return {name: html.unescape(query) for query, name in MOVE.findall(site.site.get(page).text)}


def _search_urls(site: Website) -> Iterator[str]:
    """Yield searches for old and new objects, and for unknown terms."""
    middle, newest = site.orders // 2 + 11, site.orders + 1
    saga = site.query_value("SELECT saga_id FROM orders_order WHERE id = %s", middle)
    event = site.query_value("SELECT event_id FROM audit_sagaevent WHERE saga_id = %s LIMIT 1", saga)
    task = site.query_value(
        "SELECT task_id FROM audit_sagaevent WHERE saga_id = %s AND task_id IS NOT NULL LIMIT 1", saga
    )
    known = (str(middle), str(newest), saga, event, task)
    unknown = ("999999999999", UNKNOWN_ID, "nobody")
    customers = ("customer-7", "customer-77", "cust", "customer-" + "9" * 9)
    terms = {
        "orders/order": (*known, *unknown, *customers), "orders/saga": (*known, *unknown, *customers),
        "audit/sagaevent": (*known, *unknown), "audit/deadletter": (str(middle), saga, "abc", *unknown),
        "orders/product": ("P-77", "Thing 7", "SKU", "nothing"),
        "mirrors/stock": ("P-77", "SKU-7", "nothing"),
        "mirrors/movement": (str(middle), saga, *unknown), "mirrors/wallet": ("customer-7", "nobody"),
        "mirrors/ledgertransaction": (str(middle), saga, *unknown), "auth/user": ("anna", "nobody"),
    }  # fmt: skip
    for listed, wanted in terms.items():
        for term in wanted:
            yield f"/admin/{listed}/?q={term.replace(' ', '+')}"
    for status in ("PENDING", "CONFIRMED", "ROLLING_BACK", "ROLLED_BACK"):
        for term in ("customer-7", "cust", "nobody", task):
            yield f"/admin/orders/order/?q={term}&status={status}"
            yield f"/admin/orders/saga/?q={term}&status={status}"
    yield "/admin/audit/deadletter/?q=abc&outcome=all&error=ValueError"
    for half in (
        f"orders/order/?after={middle}",
        f"orders/saga/?after={saga}",
        f"audit/sagaevent/?after={3 * site.orders}",
    ):
        yield f"/admin/{half}"
    for key, kind in ((middle, "ledgertransaction"), (site.orders, "movement")):
        yield f"/admin/mirrors/{kind}/?after={key}"


def _object_urls(site: Website) -> Iterator[str]:
    """Yield the pages of one object of each list and each status, with history and actions."""
    for listed in LISTS:
        found = re.findall(rf"/admin/({listed}/[^/\"]+)/change/", site.site.get(f"/admin/{listed}/").text)
        for thing in found[:1]:
            yield from (f"/admin/{thing}/change/", f"/admin/{thing}/history/")
    for status in ("PENDING", "CONFIRMED", "ROLLING_BACK", "ROLLED_BACK"):
        for stuck in (False, True):
            if stuck and status in ("PENDING", "ROLLED_BACK"):
                continue
            saga = site.query_value(
                "SELECT max(id::text) FROM ordersaga_saga"
                " WHERE status = %s AND (attention IS NOT NULL OR NOT %s)",
                status,
                stuck,
            )
            order = site.query_value("SELECT id FROM orders_order WHERE saga_id = %s", saga)
            yield from (f"/admin/orders/saga/{saga}/change/", f"/admin/orders/order/{order}/change/")
            yield from (
                f"/admin/orders/saga/act/resume/?id={saga}",
                f"/admin/orders/order/act/cancel/?id={order}",
            )
    dead_letters = re.findall(
        r"/admin/audit/deadletter/(\d+)/change/", site.site.get("/admin/audit/deadletter/").text
    )
    chosen = "&".join(f"id={dead_letter}" for dead_letter in dict.fromkeys(dead_letters))
    for act in ("replay", "discard"):
        yield from (
            f"/admin/audit/deadletter/act/{act}/?id={dead_letters[0]}",
            f"/admin/audit/deadletter/act/{act}/?{chosen}",
        )
    open_letter = site.query_value(
        "SELECT max(id) FROM audit_deadletter"
        " WHERE saga_id IN (SELECT id FROM ordersaga_saga WHERE ended_at IS NULL)"
    )
    yield f"/admin/audit/deadletter/{open_letter}/change/"


def _lookup_urls(site: Website) -> Iterator[str]:
    """Yield ``/admin/go/`` with each kind of id, and with unknown ones."""
    order = site.orders // 3
    saga = site.query_value("SELECT saga_id FROM orders_order WHERE id = %s", order)
    key = site.query_value("SELECT idempotency_key FROM orders_order WHERE id = %s", order)
    event = site.query_value("SELECT event_id FROM audit_sagaevent WHERE saga_id = %s LIMIT 1", saga)
    task = site.query_value(
        "SELECT task_id FROM audit_sagaevent WHERE saga_id = %s AND task_id IS NOT NULL LIMIT 1", saga
    )
    for term in (order, saga, key, event, task, UNKNOWN_ID, "nothing", 10**12):
        yield f"/admin/go/{term}"
