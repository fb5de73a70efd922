"""Clients that take their time: every wait has an end, and nobody pays for what is not theirs."""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.http.protocol.sites import GET, Answer, Client, Site, assert_refused, running, wait_until
from threatcloud.http.protocol import ServerLimits

IMPATIENT = ServerLimits(
    header_s=0.2,
    keep_alive_s=0.2,
    body_stall_s=0.2,
    write_stall_s=0.2,
    linger_s=0.2,
    sweep_s=0.02,
)


@pytest.fixture(scope="module")
def hurried(loop: str) -> Iterator[Site]:
    with running(IMPATIENT, loop) as site:
        yield site


def dribble(client: Client, piece: bytes) -> list[Answer]:
    """Send ``piece`` over and over until the server answers or ends; what it said in all."""
    ends = time.monotonic() + 10
    while not select.select([client.sock], [], [], 0.02)[0]:
        assert time.monotonic() < ends
        client.send(piece)
    return client.read_all()


@pytest.mark.parametrize(
    ("start", "piece"),
    [(b"G", b""), (b"GET / HTTP/1.1\r\nA: b", b""), (b"GET / HTTP/1.1\r\nA: ", b"a"), (GET + b"GET /", b"a")],
)
def test_a_head_that_does_not_arrive_in_time_is_408(hurried: Site, start: bytes, piece: bytes) -> None:
    with hurried.connection() as client:
        began = time.monotonic()
        client.send(start)
        if start.startswith(GET):
            assert client.answer().status == 200
        answers = dribble(client, piece)
        assert time.monotonic() - began >= 0.2
    [answer] = answers
    assert_refused(answer, 408, "request_timeout")


@pytest.mark.parametrize("start", [b"", GET, b"GET /slow HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("piece", [b"", b"\r\n"])
def test_an_idle_connection_is_closed_without_a_word(hurried: Site, start: bytes, piece: bytes) -> None:
    with hurried.connection() as client:
        client.send(start)
        if start:
            assert client.answer().status == 200
        began = time.monotonic()
        with suppress(ConnectionResetError):  # what it sent last may not have been read
            assert dribble(client, piece) == []
        assert time.monotonic() - began >= 0.15


POST = b"POST /echo HTTP/1.1\r\nX-Request-Id: b1\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(("start", "piece"), [(b"", b""), (b"", b"a"), (bytes(30_000), b"")])
def test_a_body_that_does_not_arrive_in_time_is_408(hurried: Site, start: bytes, piece: bytes) -> None:
    with hurried.connection() as client:
        client.send(POST)
        client.send(start)
        [answer] = dribble(client, piece)
    assert_refused(answer, 408, "request_timeout")
    assert answer.headers["x-request-id"] == "b1"


def test_a_body_may_not_take_for_ever_at_any_speed(loop: str) -> None:
    with running(replace(IMPATIENT, body_total_s=0.4), loop) as site, site.connection() as client:
        client.send(POST)
        [answer] = dribble(client, b"a" * 1000)
    assert_refused(answer, 408, "request_timeout")


def test_a_large_body_that_goes_on_arriving_may_take_longer(loop: str) -> None:
    limits = replace(IMPATIENT, body_stall_s=1.0, body_total_s=0.2, body_bytes_per_extra_s=1_000)
    with running(limits, loop) as site, site.connection() as client:
        client.send(POST.replace(b"1000000", b"40000"))
        for _ in range(40):
            client.send(b"a" * 1_000)
            time.sleep(0.05)
        assert client.answer().status == 200


def test_a_body_nobody_wants_is_not_waited_for(hurried: Site) -> None:
    with hurried.connection() as client:
        client.send(b"POST /early HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        assert client.answer().status == 413
        with suppress(ConnectionResetError):  # what it sent last may not have been read
            assert dribble(client, b"a") == []


@pytest.mark.parametrize("size", [300_000, 3])
def test_an_app_may_take_longer_than_any_client(hurried: Site, size: int) -> None:
    head = b"POST /late HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n" % size
    body = bytes(size)
    assert [answer.body for answer in hurried.ask(head + b"\r\n", body)] == [body]
    with hurried.connection() as client:
        client.send(head + b"Expect: 100-continue\r\n\r\n")
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        client.file.readline()
        client.send(body)
        assert [answer.body for answer in client.read_all()] == [body]


def test_a_pause_of_the_server_is_not_counted_against_its_clients(hurried: Site) -> None:
    with hurried.connection() as client, hurried.connection() as other:
        client.send(GET[:9])
        assert client.is_silent()
        other.send(b"GET /block HTTP/1.1\r\n\r\n")
        assert client.is_silent()
        client.send(GET[9:])
        assert client.answer().status == 200


@pytest.mark.parametrize("head", [b" HTTP/1.1\r\n\r\n", b" HTTP/1.1\r\nConnection: close\r\n\r\n"])
@pytest.mark.parametrize("path", [b"/flood", b"/torrent"])
def test_a_client_that_does_not_read_is_dropped(hurried: Site, path: bytes, head: bytes) -> None:
    wait_until(lambda: hurried.connections == 0)
    with hurried.connection() as client:
        client.send(b"GET " + path + head)
        wait_until(lambda: hurried.connections == 1)
        wait_until(lambda: hurried.connections == 0)
        assert len(client.file.read()) < 32 * 1024 * 1024


def test_a_client_that_reads_slowly_is_served(hurried: Site) -> None:
    with hurried.connection() as client:
        client.send(b"GET /flood HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = 0
        while data := client.sock.recv(1024 * 1024, socket.MSG_WAITALL):
            received += len(data)
            time.sleep(0.02)
    assert received > 32 * 1024 * 1024


def test_a_refused_client_that_stays_is_dropped(hurried: Site) -> None:
    wait_until(lambda: hurried.connections == 0)
    with hurried.connection() as client:
        client.send(b"nonsense\r\n\r\n")
        assert_refused(client.answer(), 400, "bad_request")
        assert client.read() is None
        wait_until(lambda: hurried.connections == 0)


def test_a_client_that_stays_after_half_an_answer_is_dropped(hurried: Site) -> None:
    wait_until(lambda: hurried.connections == 0)
    with hurried.connection() as client:
        client.send(b"POST /half HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
        wait_until(lambda: hurried.connections == 0)


def test_a_refused_client_that_sends_on_and_on_is_dropped(loop: str) -> None:
    with running(ServerLimits(linger_bytes=100_000, linger_s=60), loop) as site, site.connection() as client:
        with pytest.raises(ConnectionError):
            client.send(b"nonsense\r\n\r\n" + bytes(64 * 1024 * 1024))
        wait_until(lambda: site.connections == 0)
