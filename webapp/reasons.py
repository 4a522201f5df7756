"""The reason that every operator's act asks for; it stands in the saga's story."""

from __future__ import annotations

from webapp.refusals import ActRefused

LONGEST = 500
"""Characters."""


def required(reason: str) -> str:
    """``reason``, trimmed.

    :raises ActRefused: when it says nothing, is too long, or holds what is no text.
    """
    text = reason.strip()
    if not text:
        raise ActRefused("reason: is missing. Say why, in a few words: it stands in the saga's story.")
    if len(text) > LONGEST:
        raise ActRefused(f"reason: has {len(text)} characters. Use at most {LONGEST}.")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ActRefused("reason: holds NUL or lone surrogates. Use plain text.")
    return text
