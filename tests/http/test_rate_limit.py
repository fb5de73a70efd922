"""Buckets in a table: as a bucket of tokens would decide, for every process that has the table."""

from hypothesis import given
from hypothesis import strategies as st

from threatcloud.http.rate_limit import MAX_BUCKETS, TABLE_BYTES, RateLimiter, salt_table

_UPTIME_S = 5_000_000.0  # clocks that run for long have few digits left for fractions


def a_table() -> memoryview:
    table = memoryview(bytearray(TABLE_BYTES))
    salt_table(table)
    return table


@given(st.integers(1, 300), st.lists(st.floats(0.0, 20.0), max_size=400))
def test_it_decides_as_a_bucket_of_tokens_does(limit: int, pauses_s: list[float]) -> None:
    limiter, tokens, now_s = RateLimiter(a_table()), float(limit), _UPTIME_S
    for pause_s in pauses_s:
        now_s += pause_s
        tokens = min(limit, tokens + pause_s * limit / 60.0)
        found = limiter.take("read", "key", "address", limit, now_s)
        if abs(tokens - round(tokens)) > 0.01:  # else either answer is right
            assert (found.retry_after_s == 0) == (tokens >= 1.0)
        if found.retry_after_s == 0:
            tokens -= 1.0
            assert abs(found.remaining - tokens) <= 1.0
        else:
            assert found.remaining == 0
            assert 1 <= found.retry_after_s <= 60.0 / limit + 1
        assert (limit - tokens) * 60.0 / limit - 0.1 <= found.reset_s <= 61


def test_whoever_waits_as_long_as_told_is_let_through() -> None:
    limiter = RateLimiter(a_table())
    while not (refused := limiter.take("read", "key", "address", 7, _UPTIME_S)).retry_after_s:
        pass
    assert limiter.take("read", "key", "address", 7, _UPTIME_S + refused.retry_after_s).retry_after_s == 0


def test_a_million_a_minute_are_a_million() -> None:
    limiter = RateLimiter(a_table())
    let_through = 0
    while not limiter.take("read", "key", "address", 1_000_000, _UPTIME_S).retry_after_s:
        let_through += 1
    assert abs(let_through - 1_000_000) < 20  # a few are lost to the rounding of times


def test_all_limiters_over_one_table_count_together() -> None:
    table = a_table()
    limiters = [RateLimiter(table) for _ in range(4)]
    answers = [limiters[number % 4].take("read", "key", "address", 60, _UPTIME_S) for number in range(70)]
    assert [answer.retry_after_s == 0 for answer in answers] == [True] * 60 + [False] * 10
    assert [answer.remaining for answer in answers[:60]] == list(range(59, -1, -1))


def test_classes_keys_and_addresses_have_buckets_of_their_own() -> None:
    limiter = RateLimiter(a_table())
    for name in (("read", "a", "x"), ("write", "a", "x"), ("read", "b", "x"), ("read", "a", "y"), ("reada", "", "x")):
        assert [limiter.take(*name, 1, _UPTIME_S).retry_after_s > 0 for _ in range(2)] == [False, True]


def test_a_flood_of_addresses_frees_nobody_who_used_up_a_limit() -> None:
    """What makes room is the bucket nearest to full, in the few places a bucket may lie in."""
    limiter = RateLimiter(a_table())
    for _ in range(60):
        limiter.take("read", "", "203.0.113.7", 60, _UPTIME_S)
    for number in range(3 * MAX_BUCKETS):
        limiter.take("read", "", f"2001:db8::{number:x}", 60, _UPTIME_S)
    assert limiter.take("read", "", "203.0.113.7", 60, _UPTIME_S).retry_after_s == 1
