"""Limits over several nodes, through a real Redis that dies, hangs and comes back."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.engines import SQLiteEngine
from tests.http.conftest import READER, Api, LiveServer, ok, refused, serve_in, within
from tests.redis_server import RedisServer
from threatcloud.http.rate_limit import Allowance
from threatcloud.http.shared_limits import SharedLimiter, _allowance

LIMIT = 40
Run = Callable[[SharedLimiter], Awaitable[list[Allowance | None]]]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def nodes(redis: RedisServer, tmp_path: Path) -> Iterator[list[LiveServer]]:
    """Two nodes with the same secret and the same Redis."""
    changes = {"TC_REDIS_URL": redis.url, "TC_RATE_LIMIT_READ": str(LIMIT), "TC_METRICS_PORT": "0"}
    changes["TC_SECRET_FILE"] = str(tmp_path / "secret")
    folders = [tmp_path / name for name in ("a", "b")]
    made = []
    for folder in folders:
        folder.mkdir()
        made.append(serve_in(folder, SQLiteEngine(folder), changes))
    yield made
    for node in made:
        node.stop()


def asked(redis: RedisServer, run: Run) -> list[Allowance | None]:
    async def whole() -> list[Allowance | None]:
        limiter = SharedLimiter(redis.url, b"secret")
        try:
            return await run(limiter)
        finally:
            await limiter.close()

    return asyncio.run(whole())


def let_through(clients: list[Api], requests: int) -> int:
    """How many of so many look-ups, by turns at each node, a limit lets through."""
    answers = [clients[number % len(clients)].get("/api/stats") for number in range(requests)]
    for answer in answers:
        if answer.status_code != 200:
            refused(answer, 429, "rate_limited")
    return sum(answer.status_code == 200 for answer in answers)


def figures(node: LiveServer) -> dict[str, float]:
    """What a node says of its limits; asked from another bucket than those of the tests."""
    lines = node.client().get("/metrics").text.splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("threatcloud_limits_")}


def are_sharing(nodes: list[LiveServer]) -> bool:
    return all(figures(node)["threatcloud_limits_shared"] == 1 for node in nodes)


def never_failed(nodes: list[LiveServer]) -> bool:
    """Whether Redis answered all along: on a busy machine it may once be too late, and then each node counts alone."""
    return all(figures(node)["threatcloud_limits_redis_failures_total"] == 0 for node in nodes)


def test_nodes_share_one_limit(nodes: list[LiveServer]) -> None:
    clients = [node.client(READER) for node in nodes]
    began_s = time.monotonic()

    passed = let_through(clients, 3 * LIMIT)

    refilled = (time.monotonic() - began_s) * LIMIT / 60 + 1
    if never_failed(nodes):
        assert LIMIT <= passed <= LIMIT + refilled
    assert within(10, lambda: are_sharing(nodes))


def test_a_key_that_is_refused_and_a_path_that_is_none_count_everywhere(redis: RedisServer, tmp_path: Path) -> None:
    changes = {"TC_REDIS_URL": redis.url, "TC_RATE_LIMIT_ANONYMOUS": "10", "TC_SECRET_FILE": str(tmp_path / "secret")}
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(serve_in(tmp_path / name, SQLiteEngine(tmp_path / name), changes))
    strangers = [node.client("no-such-key") for node in made]
    for path, status in (("/api/stats", 401), ("/nothing", 404)):
        statuses = [strangers[number % 2].get(path).status_code for number in range(20)]
        assert statuses[:10] == [status] * 10
        if never_failed(made):
            assert set(statuses) == {status, 429}
            assert statuses.count(status) <= 12
    for node in made:
        node.stop()


def test_without_redis_each_node_has_its_limit_and_with_it_they_share_again(
    redis: RedisServer, nodes: list[LiveServer]
) -> None:
    clients = [node.client(READER) for node in nodes]
    for client in clients:
        ok(client.get("/api/stats"))

    redis.kill()
    passed = let_through(clients, 4 * LIMIT)

    assert 2 * LIMIT - 2 <= passed <= 2 * LIMIT + 20
    for node in nodes:
        told = figures(node)
        assert told["threatcloud_limits_shared"] == 0
        assert told["threatcloud_limits_redis_failures_total"] >= 1
        assert told["threatcloud_limits_local_total"] >= LIMIT - 1
    redis.start()
    assert within(10, lambda: are_sharing(nodes))


def test_a_redis_that_hangs_holds_nobody_up(redis: RedisServer, nodes: list[LiveServer]) -> None:
    clients = [node.client(READER) for node in nodes]
    assert within(10, lambda: are_sharing(nodes))
    redis.hang()
    try:
        with capture_logs() as logged:
            for client in clients * 3:
                ok(client.get("/api/stats"))
        assert [line["log_level"] for line in logged if "Redis" in line["event"]] == ["warning"] * len(nodes)
        assert [figures(node)["threatcloud_limits_shared"] for node in nodes] == [0, 0]
        assert all(figures(node)["threatcloud_limits_redis_failures_total"] < 20 for node in nodes)
    finally:
        redis.go_on()
    assert within(10, lambda: are_sharing(nodes))


def test_what_comes_together_is_counted_one_by_one(redis: RedisServer) -> None:
    async def crowd(limiter: SharedLimiter) -> list[Allowance | None]:
        return await asyncio.gather(*(limiter.take("read", "crowd", "address", 250) for _ in range(300)))

    answers = [answer for answer in asked(redis, crowd) if answer is not None]
    if len(answers) == 300:  # else the machine was too busy for Redis to answer in time
        passed = [answer for answer in answers if answer.retry_after_s == 0]
        assert 250 <= len(passed) <= 260
        assert max(answer.remaining for answer in passed) == 249


def test_no_address_and_no_key_is_told_to_redis(redis: RedisServer) -> None:
    async def names(limiter: SharedLimiter) -> list[Allowance | None]:
        for _ in range(50):
            if await limiter.take("read", "key:abc", "203.0.113.7", 60) is not None:
                break
            await asyncio.sleep(0.1)  # Redis was too late
        stored = [str(name) for name in await limiter._redis.keys("*")]
        assert stored
        assert not [name for name in stored if "threat-cloud:limit:" not in name or "abc" in name or "203.0" in name]
        assert 0 < await limiter._redis.pttl((await limiter._redis.keys("*"))[0]) <= 60_000
        return []

    asked(redis, names)


@given(st.integers(1, 1_000_000), st.integers(0, 60_000_000), st.integers(0, 60_000_000))
def test_what_redis_says_is_within_what_headers_can_say(limit: int, missing_us: int, over_us: int) -> None:
    found = _allowance(limit, missing_us, over_us)
    assert 0 <= found.remaining <= limit
    assert 0 <= found.reset_s <= 60
    assert (found.retry_after_s > 0) == (over_us > 0)
