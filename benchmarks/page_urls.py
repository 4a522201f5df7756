"""Which pages there are: found as a visitor finds them, by the links of each list, and by what somebody may
look for.
"""

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
    "books/stock",
    "books/movement",
    "books/wallet",
    "books/ledgertransaction",
    "auth/user",
    "auth/group",
)
NOBODY = "01999999-9999-7999-8999-999999999999"
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
"""Values that are not there, and filters that have little in common."""
FILTER = re.compile(r'<a href="\?([\w=&;+%.-]+)"')
MOVE = re.compile(r'<a href="\?(\S+?)"(?: rel="(?:next|prev)")?>(first|previous|next|last)</a>')


def addresses(site: Website) -> list[str]:
    """All pages, each once."""
    return list(dict.fromkeys([*_plain(), *_lists(site), *_searches(site), *_things(site), *_going(site)]))


def _plain() -> Iterator[str]:
    yield from ("/healthz", "/readyz", "/admin/", "/admin/orders/", "/admin/audit/", "/admin/books/")
    yield from ("/admin/orders/order/place/", "/admin/audit/deadletter/groups/")


def _lists(site: Website) -> Iterator[str]:
    for listed in LISTS:
        page = f"/admin/{listed}/"
        text = site.site.get(page).text
        shown = text.partition('id="changelist-filter"')[2]
        queries = ["", *(html.unescape(query) for query in FILTER.findall(shown)), *ABSENT.get(listed, ())]
        for query in dict.fromkeys(queries):
            yield f"{page}?{query}".rstrip("?")
            yield from _moves(site, page, query)


def _moves(site: Website, page: str, query: str) -> Iterator[str]:
    """The second page, the last, and the one before the last; then the way back from the second."""
    found = _links(site, f"{page}?{query}")
    for name in ("next", "last"):
        if name in found:
            yield f"{page}?{found[name]}"
            back = _links(site, f"{page}?{found[name]}")
            if "previous" in back:
                yield f"{page}?{back['previous']}"


def _links(site: Website, page: str) -> dict[str, str]:
    return {name: html.unescape(query) for query, name in MOVE.findall(site.site.get(page).text)}


def _searches(site: Website) -> Iterator[str]:
    """Each kind of term: of something in the middle of the books, of something new, and of nothing."""
    middle, newest = site.orders // 2 + 11, site.orders + 1
    saga = site.query_value("SELECT saga_id FROM orders_order WHERE id = %s", middle)
    event = site.query_value("SELECT event_id FROM audit_sagaevent WHERE saga_id = %s LIMIT 1", saga)
    task = site.query_value(
        "SELECT task_id FROM audit_sagaevent WHERE saga_id = %s AND task_id IS NOT NULL LIMIT 1", saga
    )
    known = (str(middle), str(newest), saga, event, task)
    unknown = ("999999999999", NOBODY, "nobody")
    customers = ("customer-7", "customer-77", "cust", "customer-" + "9" * 9)
    terms = {
        "orders/order": (*known, *unknown, *customers), "orders/saga": (*known, *unknown, *customers),
        "audit/sagaevent": (*known, *unknown), "audit/deadletter": (str(middle), saga, "abc", *unknown),
        "orders/product": ("P-77", "Thing 7", "SKU", "nothing"), "books/stock": ("P-77", "SKU-7", "nothing"),
        "books/movement": (str(middle), saga, *unknown), "books/wallet": ("customer-7", "nobody"),
        "books/ledgertransaction": (str(middle), saga, *unknown), "auth/user": ("anna", "nobody"),
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
        yield f"/admin/books/{kind}/?after={key}"


def _things(site: Website) -> Iterator[str]:
    """One thing of each list, or one of each kind, with its history and what may be done to it."""
    for listed in LISTS:
        found = re.findall(rf"/admin/({listed}/[^/\"]+)/change/", site.site.get(f"/admin/{listed}/").text)
        for thing in found[:1]:
            yield from (f"/admin/{thing}/change/", f"/admin/{thing}/history/")
    for status in ("PENDING", "CONFIRMED", "ROLLING_BACK", "ROLLED_BACK"):
        for stuck in (False, True):
            if stuck and status in ("PENDING", "ROLLED_BACK"):
                continue
            saga = site.query_value(
                "SELECT max(id::text) FROM ordersaga_saga WHERE status = %s AND (attention IS NOT NULL OR NOT %s)",
                status,
                stuck,
            )
            order = site.query_value("SELECT id FROM orders_order WHERE saga_id = %s", saga)
            yield from (f"/admin/orders/saga/{saga}/change/", f"/admin/orders/order/{order}/change/")
            yield from (
                f"/admin/orders/saga/act/resume/?id={saga}",
                f"/admin/orders/order/act/cancel/?id={order}",
            )
    letters = re.findall(
        r"/admin/audit/deadletter/(\d+)/change/", site.site.get("/admin/audit/deadletter/").text
    )
    chosen = "&".join(f"id={letter}" for letter in dict.fromkeys(letters))
    for act in ("replay", "discard"):
        yield from (
            f"/admin/audit/deadletter/act/{act}/?id={letters[0]}",
            f"/admin/audit/deadletter/act/{act}/?{chosen}",
        )
    told = site.query_value(
        "SELECT max(id) FROM audit_deadletter WHERE saga_id IN (SELECT id FROM ordersaga_saga WHERE ended_at IS NULL)"
    )
    yield f"/admin/audit/deadletter/{told}/change/"


def _going(site: Website) -> Iterator[str]:
    """``/admin/go/`` with each kind of id, and with none."""
    order = site.orders // 3
    saga = site.query_value("SELECT saga_id FROM orders_order WHERE id = %s", order)
    key = site.query_value("SELECT idempotency_key FROM orders_order WHERE id = %s", order)
    event = site.query_value("SELECT event_id FROM audit_sagaevent WHERE saga_id = %s LIMIT 1", saga)
    task = site.query_value(
        "SELECT task_id FROM audit_sagaevent WHERE saga_id = %s AND task_id IS NOT NULL LIMIT 1", saga
    )
    for term in (order, saga, key, event, task, NOBODY, "nothing", 10**12):
        yield f"/admin/go/{term}"
