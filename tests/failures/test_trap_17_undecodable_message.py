from __future__ import annotations

import hashlib
import os

from tests.support.installation import Installation
from tests.support.polling import eventually


def test_an_undecodable_message_is_kept_and_only_its_digest_logged(installation: Installation) -> None:
    secret = os.urandom(12).hex()
    body = b"\xff\x00 card number " + secret.encode()

    installation.amqp.send("signal.StockReserved", body, to="payments", content_type="application/json")

    [dead_letter] = eventually(
        lambda: [dead for dead in installation.probe.dead_letters() if dead.body == body],
        30,
        "the dead letter",
    )
    assert (dead_letter.source, dead_letter.participant) == ("broker", "payments")
    [payments] = installation.pools["payments"]
    eventually(lambda: hashlib.sha256(body).hexdigest()[:16] in payments.logs(), 10, "the digest in the log")
    assert secret not in payments.logs()
    installation.probe.wait_until_confirmed([installation.factory.place("TEA")])
