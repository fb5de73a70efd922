"""Signatures of deliveries against the example of the specification, and when they are tried again."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.times import DAY_MS, HOUR_MS
from threatcloud.domain.webhook import MAX_ATTEMPTS, Attempt, headers, shown_secret, signature, wait_ms


def test_a_signature_is_that_of_the_specifications_example() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert shown_secret(key) == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@given(st.binary(min_size=32, max_size=32), st.integers(0, 1 << 33), st.binary(max_size=100), st.binary(max_size=100))
def test_a_signature_is_of_its_body_time_and_id(key: bytes, time_s: int, body: bytes, other: bytes) -> None:
    signed = signature(key, "a", time_s, body)
    assert signed != signature(key, "b", time_s, body)
    assert signed != signature(key, "a", time_s + 1, body)
    assert (signed == signature(key, "a", time_s, other)) == (body == other)
    sent = headers(key, "a", time_s, body)
    assert (sent["webhook-id"], sent["webhook-timestamp"], sent["webhook-signature"]) == ("a", str(time_s), signed)


@given(st.floats(0, 1))
def test_waits_grow_over_a_day_and_end(chance: float) -> None:
    waits = [wait_ms(attempts, chance) for attempts in range(1, MAX_ATTEMPTS + 1)]
    assert waits[-1] is None
    known = [wait for wait in waits if wait is not None]
    assert len(known) == MAX_ATTEMPTS - 1
    assert known == sorted(known)
    assert known[0] <= 5_000
    longest = sum(wait_ms(attempts, 1.0) or 0 for attempts in range(1, MAX_ATTEMPTS))
    assert DAY_MS < longest < 2 * DAY_MS
    assert sum(known) >= longest // 2 - HOUR_MS


def test_only_2xx_is_taken() -> None:
    assert {status for status in range(100, 600) if Attempt(status).is_taken} == set(range(200, 300))
    assert not Attempt(None, "no answer").is_taken
