from __future__ import annotations

import hashlib
import os

from tests.support.installation import House
from tests.support.polling import eventually


def test_it_is_kept_whole_on_the_desk_and_only_its_digest_is_logged(house: House) -> None:
    secret = os.urandom(12).hex()
    body = b"\xff\x00 card number " + secret.encode()

    house.mail.send("signal.StockReserved", body, to="payments", content_type="application/json")

    [letter] = eventually(
        lambda: [dead for dead in house.books.desk() if dead.body == body], 30, "the dead letter"
    )
    assert (letter.source, letter.participant) == ("broker", "payments")
    [payments] = house.pools["payments"]
    eventually(lambda: hashlib.sha256(body).hexdigest()[:16] in payments.logs(), 10, "the digest in the log")
    assert secret not in payments.logs()
    house.books.all_confirmed([house.shop.place("TEA")])
