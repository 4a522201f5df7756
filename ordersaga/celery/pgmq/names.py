"""Table names of queues, and regular expressions of topic patterns."""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 47
"""PGMQ's limit for queue names, so that table names fit PostgreSQL's 63 bytes."""

SAFE = re.compile(rf"[a-z0-9_]{{1,{MAX_LENGTH}}}")
DIGEST_LENGTH = 8


def table_name(queue: str) -> str:
    """PGMQ's name of ``queue``: the name if it is valid, else a readable one with a digest.

    Upstream: names over 47 characters are refused, and ``a.b``, ``a-b`` and ``A_b`` share one table.
    """
    if SAFE.fullmatch(queue):
        return queue
    digest = hashlib.sha256(queue.encode()).hexdigest()[:DIGEST_LENGTH]
    readable = re.sub(r"[^a-z0-9]+", "_", queue.lower()).strip("_")
    return f"{readable[: MAX_LENGTH - DIGEST_LENGTH - 1]}_{digest}"


def topic_regex(pattern: str) -> str | None:
    r"""The regular expression of a binding's ``pattern``, for a routing key with a dot appended.

    None for a pattern without wildcards. As in AMQP, ``*`` is one word and ``#`` is any number of words. Each
    word, including the last, ends with a dot: ``refusal.#`` becomes ``^refusal\.([^.]*\.)*$``.

    Upstream: ``#`` is at least one word, and a routing key may contain only a-z, A-Z, 0-9, ``-`` and ``_``.
    """
    words = pattern.split(".")
    if not {"*", "#"} & set(words):
        return None
    wild = {"*": r"[^.]*\.", "#": r"([^.]*\.)*"}
    return "^" + "".join(wild.get(word) or re.escape(word) + r"\." for word in words) + "$"
