"""What a queue's table is called, and what a topic pattern means."""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 47
"""Characters PGMQ grants a queue's name, so that its tables' names fit PostgreSQL's 63 bytes."""

SAFE = re.compile(rf"[a-z0-9_]{{1,{MAX_LENGTH}}}")
DIGEST_LENGTH = 8


def table_name(queue: str) -> str:
    """PGMQ's name for ``queue``: the name itself where it is safe, else legible and made unique by a digest.

    Upstream: names over 47 characters are refused, and ``a.b``, ``a-b`` and ``A_b`` share one table.
    """
    if SAFE.fullmatch(queue):
        return queue
    digest = hashlib.sha256(queue.encode()).hexdigest()[:DIGEST_LENGTH]
    legible = re.sub(r"[^a-z0-9]+", "_", queue.lower()).strip("_")
    return f"{legible[: MAX_LENGTH - DIGEST_LENGTH - 1]}_{digest}"


def topic_regex(pattern: str) -> str | None:
    r"""A binding's ``pattern`` as regular expression, to be held against the routing key and a dot; None: a
    plain key.

    ``*`` is one word and ``#`` is none, one or many, as in AMQP. With a dot after every word, the last one
    too, no case needs another rule: ``refusal.#`` becomes ``^refusal\.([^.]*\.)*$`` and hears ``refusal.``.

    Upstream: ``#`` is at least one word, and a routing key may hold nothing but letters, digits, ``-`` and
    ``_``.
    """
    words = pattern.split(".")
    if not {"*", "#"} & set(words):
        return None
    wild = {"*": r"[^.]*\.", "#": r"([^.]*\.)*"}
    return "^" + "".join(wild.get(word) or re.escape(word) + r"\." for word in words) + "$"
