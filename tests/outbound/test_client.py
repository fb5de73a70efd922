"""Requests to others, over real sockets: where they may not go, and how much and how long they take."""

import asyncio
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from tests.sites import Says, Site, running_site
from threatcloud.domain.address import parse_network
from threatcloud.domain.outbound import OutboundRefused
from threatcloud.outbound.client import Limits, Order, Outbound, Reply, Unreachable

ALLOWED = (parse_network("127.0.0.1"),)
QUICK = Limits(total_s=5.0, connect_s=2.0, answer_bytes=10_000)


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Site]:
    with running_site() as found:
        yield found


@pytest.fixture
def site(shared_site: Site) -> Site:
    shared_site.got.clear()
    shared_site.answer = lambda _: Says()
    return shared_site


def ask(outbound: Outbound, order: Order, limits: Limits = QUICK) -> tuple[Reply, bytes]:
    parts: list[bytes] = []
    reply = asyncio.run(outbound.send(order, limits, parts.append))
    return reply, b"".join(parts)


def resolving(*answers: Sequence[str]) -> tuple[Outbound, list[str]]:
    """A client whose names resolve to one answer after the other, and the names it asked for."""
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return Outbound(ALLOWED, resolve), asked


def test_a_request_arrives_as_it_was_sent(site: Site) -> None:
    site.answer = lambda got: Says(202, b"thanks", {"X-Test": "1"})
    order = Order("POST", f"{site.url}/hook?a=b", {"Content-Type": "application/json"}, b"{}")
    reply, body = ask(Outbound(ALLOWED), order)
    assert (reply.status, reply.headers["x-test"], body) == (202, "1", b"thanks")
    (got,) = site.got
    assert (got.method, got.path, got.body) == ("POST", "/hook?a=b", b"{}")
    assert got.headers["host"] == f"127.0.0.1:{site.port}"
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost.", "2130706433", "[::ffff:7f00:1]", "0.0.0.0"])
def test_without_an_allowance_nothing_on_this_machine_is_reached(site: Site, host: str) -> None:
    with pytest.raises(OutboundRefused, match="TC_OUTBOUND_ALLOW"):
        ask(Outbound(()), Order("GET", f"http://{host}:{site.port}/"))
    assert site.got == []


def test_a_name_is_resolved_once_and_that_answer_is_connected_to(site: Site) -> None:
    """The second answer of a rebinding server is never asked for."""
    outbound, asked = resolving(["127.0.0.1"], ["127.0.0.2"])
    reply, _ = ask(outbound, Order("GET", f"http://rebinding.example:{site.port}/"))
    assert (reply.status, asked) == (200, ["rebinding.example"])
    assert site.got[0].headers["host"] == f"rebinding.example:{site.port}"


@pytest.mark.parametrize("answer", [["10.0.0.5"], ["127.0.0.1", "169.254.169.254"], ["::ffff:10.0.0.1"], ["fe80::1%1"]])
def test_one_forbidden_address_of_a_name_is_enough(site: Site, answer: list[str]) -> None:
    outbound, _ = resolving(answer)
    with pytest.raises(OutboundRefused, match=r"inner\.example is "):
        ask(outbound, Order("GET", f"http://inner.example:{site.port}/"))
    assert site.got == []


def test_the_next_address_of_a_name_is_tried_where_one_does_not_answer(site: Site) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["::1", "127.0.0.1"]

    outbound = Outbound((*ALLOWED, parse_network("::1")), resolve)
    assert ask(outbound, Order("GET", f"http://two.example:{site.port}/"))[0].status == 200


def test_redirects_are_followed_only_when_asked_and_only_where_one_may_go(site: Site) -> None:
    places = {"/a": "/b", "/b": f"{site.url}/c", "/in": "http://10.0.0.1/", "/round": "/round", "/ftp": "ftp://x/"}
    site.answer = lambda got: Says(302, b"", {"Location": places[got.path]}) if got.path in places else Says(200, b"c")
    outbound = Outbound(ALLOWED)
    reply, body = ask(outbound, Order("GET", f"{site.url}/a", follows=True))
    assert (reply.status, body, reply.url) == (200, b"c", f"{site.url}/c")
    assert ask(outbound, Order("GET", f"{site.url}/a"))[0].status == 302
    for path in ("/in", "/ftp"):
        with pytest.raises(OutboundRefused):
            ask(outbound, Order("GET", site.url + path, follows=True))
    site.got.clear()
    with pytest.raises(Unreachable, match="redirects"):
        ask(outbound, Order("GET", f"{site.url}/round", follows=True))
    assert len(site.got) == 6


def test_a_redirect_to_a_name_is_resolved_and_checked_like_the_first(site: Site) -> None:
    site.answer = lambda got: Says(301, b"", {"Location": f"http://inner.example:{site.port}/"})
    outbound, asked = resolving(["127.0.0.1"], ["192.168.0.1"])
    with pytest.raises(OutboundRefused):
        ask(outbound, Order("GET", f"http://outer.example:{site.port}/", follows=True))
    assert asked == ["outer.example", "inner.example"]
    assert len(site.got) == 1


def test_an_answer_that_is_too_large_is_not_read_on(site: Site) -> None:
    site.answer = lambda _: Says(200, b"x" * 100_000)
    with pytest.raises(Unreachable, match="10,000 bytes"):
        ask(Outbound(ALLOWED), Order("GET", site.url))


def test_an_answer_that_drips_is_given_up() -> None:
    """A byte now and then resets the wait for the next one, and not the whole time."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with closing(connection):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(Unreachable, match=r"within 0\.5 s"):
            ask(Outbound(ALLOWED), Order("GET", url), QUICK._replace(total_s=0.5))
        stop.set()
        thread.join()


def test_who_does_not_listen_and_who_has_no_name_is_unreachable() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match="cannot be connected to"):
        ask(Outbound(ALLOWED), Order("GET", f"http://127.0.0.1:{port}/"))

    async def nothing(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such name")

    with pytest.raises(Unreachable, match="no such name"):
        ask(Outbound(ALLOWED, nothing), Order("GET", "http://nowhere.example/"))


def test_proxies_of_the_environment_are_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert ask(Outbound(ALLOWED), Order("GET", site.url))[0].status == 200


def test_what_is_packed_is_given_as_it_came(site: Site) -> None:
    site.answer = lambda got: Says(200, b"\x1f\x8bpacked", {"Content-Encoding": "gzip"})
    assert ask(Outbound(ALLOWED), Order("GET", site.url))[1] == b"\x1f\x8bpacked"


def test_the_certificate_must_be_of_the_name_not_of_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    names = "subjectAltName=DNS:hooks.example"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=hooks.example", "-addext", names, "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with running_site() as site:
        site._server.socket = context.wrap_socket(site._server.socket, server_side=True)
        outbound, _ = resolving(["127.0.0.1"])
        assert ask(outbound, Order("GET", f"https://hooks.example:{site.port}/"))[0].status == 200
        for host in ("other.example", "127.0.0.1"):
            with pytest.raises(Unreachable, match="certificate"):
                ask(outbound, Order("GET", f"https://{host}:{site.port}/"))


def test_two_requests_are_two_connections(site: Site) -> None:
    """A kept connection could serve another name on the same address."""

    async def twice() -> None:
        outbound = Outbound(ALLOWED)
        for _ in range(2):
            await outbound.send(Order("GET", site.url), QUICK, lambda _: None)

    asyncio.run(twice())
    assert len({got.peer for got in site.got}) == 2


@contextmanager
def hanging_up() -> Iterator[int]:
    """A server that breaks every connection off as soon as it is there; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with suppress(OSError):  # closed at the end
                while True:
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()

        threading.Thread(target=run, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_who_hangs_up_at_once_is_unreachable(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def ask_often(port: int) -> None:
        for _ in range(100):  # what is met differs from one time to the next
            with pytest.raises(Unreachable, match=r"^127\.0\.0\.1"):
                await Outbound(ALLOWED).send(Order("GET", f"http://127.0.0.1:{port}/"), QUICK, bytes)

    with hanging_up() as port, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask_often(port))
