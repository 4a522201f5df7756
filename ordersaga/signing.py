"""Sign envelopes and verify their signatures."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from ordersaga.envelope import digest
from ordersaga.errors import ConfigurationError, EnvelopeError


class Keyring:
    """Keys that sign envelopes (HMAC-SHA256, RFC 2104): the first one signs, all are accepted.

    To rotate: add the new key last everywhere, then move it first, then remove the old one.
    """

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """Take pairs of id and secret, the signing key first.

        :raises ConfigurationError: without a key, with a repeated id or a secret of fewer than 16 bytes.
        """
        if not keys:
            raise ConfigurationError("no signing key: give at least one `id:secret`")
        for name, secret in keys:
            if not name or ":" in name or len(secret) < 16:
                raise ConfigurationError(
                    f"signing key {name!r}: an id without colon and a secret of 16 bytes or more"
                )
        if len({name for name, _ in keys}) < len(keys):
            raise ConfigurationError("two signing keys share an id: give each its own")
        self._keys = dict(keys)
        self._signer = keys[0][0]

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """Read keys from ``id:secret,id:secret``."""
        pairs = [part.strip().partition(":") for part in text.split(",") if part.strip()]
        return cls([(name, secret.encode()) for name, _, secret in pairs])

    def sign(self, message_id: str, topic: str, signals: int, body: bytes) -> str:
        """Sign everything that a receiver acts on; the signature has the form ``id:mac``."""
        return f"{self._signer}:{self._mac(self._signer, message_id, topic, signals, body)}"

    def verify(self, signature: str, message_id: str, topic: str, signals: int, body: bytes) -> None:
        """Check a signature.

        :raises EnvelopeError: when it is missing, made with an unknown key, or wrong.
        """
        name, _, mac = signature.partition(":")
        if name not in self._keys:
            fault = f"signed with unknown key {name[:32]!r}" if name else "not signed"
            raise EnvelopeError(fault, digest(body))
        if not hmac.compare_digest(_bytes(mac), self._mac(name, message_id, topic, signals, body).encode()):
            raise EnvelopeError(f"wrong signature for key {name!r}", digest(body))

    def _mac(self, name: str, message_id: str, topic: str, signals: int, body: bytes) -> str:
        mac = hmac.new(self._keys[name], _bytes(f"{message_id}\n{topic}\n{signals}\n"), hashlib.sha256)
        mac.update(body)
        return mac.hexdigest()


def _bytes(text: str) -> bytes:
    """Encode any text: an unverified message may contain lone surrogates."""
    return text.encode(errors="surrogatepass")
