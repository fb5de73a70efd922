"""How the server starts, how many it lets in, and how it stops."""

import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.http.protocol.sites import (
    GET,
    GET_AND_CLOSE,
    PATIENT,
    App,
    Client,
    assert_refused,
    process,
    running,
    settings,
    wait_until,
)
from threatcloud.http.protocol import ServerLimits
from threatcloud.http.serve import CannotListen, run_server


def test_connections_over_the_limit_are_turned_away(loop: str) -> None:
    limits = ServerLimits(connections=2, turned_away=1, sweep_s=0.02)
    with running(limits, loop) as site, site.connection() as first:
        with site.connection() as second:
            for client in (first, second):
                client.send(GET)
                assert client.answer().status == 200
            answer = site.refusal(GET)
            assert_refused(answer, 503, "busy")
            assert answer.headers["retry-after"] == "1"
            wait_until(lambda: site.connections == 2)
            with site.connection() as third, site.connection() as fourth:
                assert third.answer().status == 503
                with suppress(ConnectionResetError):
                    assert fourth.file.read() == b""
            assert first.is_silent()
        wait_until(lambda: site.connections == 1)
        assert [answer.status for answer in site.ask(GET_AND_CLOSE)] == [200]


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_gracefully(signal_: signal.Signals) -> None:
    with process(10) as (child, site), site.connection() as idle, site.connection() as busy:
        idle.send(GET)
        assert idle.answer().status == 200
        busy.send(b"GET /slow HTTP/1.1\r\n\r\n")
        assert busy.is_silent()
        child.send_signal(signal_)
        assert idle.read() is None
        wait_until(lambda: site.refuses_connections)
        answer = busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"slow", "close")
        assert busy.read() is None
        assert child.communicate(timeout=10) == ("stopped\n", "")
        assert child.returncode == 0


@pytest.mark.parametrize("path", ["stuck", "begin", "torrent"])
def test_requests_that_outlast_the_grace_do_not_hold_the_stop(path: str) -> None:
    with process(0) as (child, site), site.connection() as client:
        client.send(f"GET /{path} HTTP/1.1\r\n\r\n".encode())
        assert client.is_silent() == (path == "stuck")
        child.send_signal(signal.SIGTERM)
        assert child.communicate(timeout=10)[0] == "stopped\n"
        assert child.returncode == 0


def test_no_connection_outlives_the_server(loop: str) -> None:
    with running(ServerLimits(stop_grace_s=0), loop) as site, site.connection() as client:
        client.send(b"GET /torrent HTTP/1.1\r\n\r\n")
        assert not client.is_silent()
        site.stop()
        wait_until(lambda: site.app.stopped and site.connections == 0)


def test_a_stop_does_not_wait_for_clients_that_were_answered(loop: str) -> None:
    with running(PATIENT, loop) as site, site.connection() as refused, site.connection() as cut_short:
        refused.send(b"nonsense\r\n\r\n")
        cut_short.send(b"POST /half HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        for client in (refused, cut_short):
            assert client.file.read() != b""
        site.stop()
        wait_until(lambda: site.app.stopped)


def test_every_connection_may_be_an_open_file() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with running(ServerLimits(connections=200)):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (400, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_cannot_be_listened_on_is_told_before_the_app_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1 port {port}: address already in use"):
            run_server(App(), **settings(port=port))
    with pytest.raises(CannotListen, match="cannot assign requested address"):
        run_server(App(), **settings(host="192.0.2.1"))
    with pytest.raises(CannotListen, match=r"absent\.pem cannot be used"):
        run_server(App(), **settings(tls_cert=tmp_path / "absent.pem"))
    with pytest.raises(CannotListen, match="needs its certificate"):
        run_server(App(), **settings(tls_key=tmp_path / "key.pem"))


def test_an_app_that_does_not_start_is_exit_code_1() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    assert run_server(app, **settings()) == 1


def test_an_app_that_does_not_stop_well_is_exit_code_1() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "no"})

    def stop(_: str) -> None:
        signal.raise_signal(signal.SIGTERM)

    assert run_server(app, **settings(on_started=stop)) == 1


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_ipv6_is_listened_on_and_the_wildcard_takes_both(loop: str) -> None:
    for host, reached in (("::1", ["::1"]), ("::", ["::1", "127.0.0.1"]), ("localhost", ["127.0.0.1"])):
        with running(PATIENT, loop, host=host) as site:
            for site.host in reached:
                assert [answer.status for answer in site.ask(GET_AND_CLOSE)] == [200]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls(loop: str, tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, "-keyout", key, "-out", cert, *names], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=cert)
    limits = ServerLimits(header_s=0.2, linger_s=0.2, sweep_s=0.02)
    with running(limits, loop, tls_cert=cert, tls_key=key) as site:

        @contextmanager
        def secure() -> Iterator[Client]:
            with (
                site.connection() as plain,
                context.wrap_socket(plain.sock, server_hostname="127.0.0.1") as sock,
            ):
                client = Client(sock)
                with client.file:
                    yield client

        with secure() as client:
            client.send(GET + b"POST /early HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
            assert [answer.status for answer in client.read_all()] == [200, 413]
        with secure() as client:
            client.send(b"nonsense\r\n\r\n")
            assert_refused(client.answer(), 400, "bad_request")
        with site.connection() as silent:
            assert silent.file.read() == b""
        with secure() as idle:  # it does not answer the end of TLS: the stop must not wait for it
            idle.send(GET)
            assert idle.answer().status == 200
            site.stop()
            wait_until(lambda: site.app.stopped)
