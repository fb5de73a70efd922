"""``threat-cloud dnsbl`` over a running server, asked by real clients."""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.engines import SQLiteEngine
from tests.http.conftest import READER, Api, LiveServer, item, serve_in, within

ZONE: Final = "bl.example.org"
HOST: Final = "127.0.0.1"
DIG: Final = shutil.which("dig")
UNBOUND: Final = shutil.which("unbound") or shutil.which("unbound", path="/usr/sbin")


class Dnsbl:
    """A running ``threat-cloud dnsbl``."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "threatcloud", "dnsbl", ZONE, "--port", "0", "--every", "0.3"]
        database = ["--db-path", str(folder / "threat-cloud.db")]
        self._process = subprocess.Popen([*command, *database, *options], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr
        self.banner = self._process.stderr.readline()
        found = re.search(r"port (\d+)", self.banner)
        assert found, self.banner
        self.port = int(found[1])

    def ask(
        self, name: str, kind: str = "A", way: Callable[..., dns.message.Message] = dns.query.udp
    ) -> dns.message.Message:
        """The answer to a question for a name below the zone."""
        return way(dns.message.make_query(f"{name}.{ZONE}", kind), HOST, port=self.port, timeout=5)

    def lists(self, name: str) -> bool:
        """Whether a name below the zone exists."""
        return self.ask(name).rcode() == dns.rcode.NOERROR

    def stop(self) -> int:
        """Ends it and gives its exit code."""
        self._process.terminate()
        code = self._process.wait(20)
        if self._process.stderr:
            self._process.stderr.close()
        return code


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, Path]]:
    folder = tmp_path_factory.mktemp("dnsbl")
    server = serve_in(folder, SQLiteEngine(folder), {})
    api = server.client()
    api.report(item("91.240.1.1", category="scanner"), item("91.241.0.0/24", category="c2"), item("2a0e::7"))
    api.report(item("bad.xyz", "domain", category="phishing"), item("8.8.8.8"))
    assert within(3, lambda: len(api.blocked()) == 3)
    yield server, folder
    server.stop()


@pytest.fixture(scope="module")
def api(place: tuple[LiveServer, Path]) -> Api:
    return place[0].client()


@pytest.fixture(scope="module")
def running(place: tuple[LiveServer, Path]) -> Iterator[Dnsbl]:
    dnsbl = Dnsbl(place[1], "--link", "https://tc.example/{value}")
    yield dnsbl
    assert dnsbl.stop() == 0


@pytest.mark.parametrize("way", [dns.query.udp, dns.query.tcp])
def test_it_answers_over_both(running: Dnsbl, way: Callable[..., dns.message.Message]) -> None:
    assert running.ask("1.1.240.91", "TXT", way).answer[0][0].to_text() == '"scanner https://tc.example/91.240.1.1"'
    assert running.ask("77.0.241.91", "A", way).answer[0][0].to_text() == "127.0.0.8"
    assert running.ask("bad.xyz", "A", way).answer[0][0].to_text() == "127.0.0.4"
    assert running.ask("8.8.8.8", "A", way).answer == []
    assert running.ask("2.1.240.91", "A", way).rcode() == dns.rcode.NXDOMAIN
    assert running.ask("2.0.0.127", "A", way).rcode() == dns.rcode.NOERROR


def test_it_follows_what_is_published(running: Dnsbl, api: Api) -> None:
    api.report(item("91.240.9.9", category="malware"), item("new.xyz", "domain"))
    assert within(10, lambda: running.lists("9.9.240.91") and running.lists("new.xyz"))
    assert running.ask("9.9.240.91").answer[0][0].to_text() == "127.0.0.2"

    assert api.post("/api/allowlist", json={"value": "91.240.9.9"}).status_code == 201
    assert within(10, lambda: not running.lists("9.9.240.91"))


def test_several_questions_go_over_one_connection(running: Dnsbl) -> None:
    with socket.create_connection((HOST, running.port), timeout=5) as connection:
        for name in ("1.1.240.91", "2.1.240.91", "1.1.240.91"):
            query = dns.message.make_query(f"{name}.{ZONE}", "A")
            dns.query.send_tcp(connection, query)
            answer, _ = dns.query.receive_tcp(connection, time.time() + 5)
            assert query.is_response(answer)


@pytest.mark.parametrize("garbage", [b"", b"\0", b"\xff" * 40, b"\0\x01x", b"\xff\xff" + b"a" * 1000])
def test_garbage_ends_a_connection_and_nothing_else(running: Dnsbl, garbage: bytes) -> None:
    with socket.create_connection((HOST, running.port), timeout=5) as connection:
        connection.sendall(garbage)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(garbage, (HOST, running.port))

    assert running.lists("1.1.240.91")


def test_a_network_that_asks_too_often_gets_nothing(place: tuple[LiveServer, Path]) -> None:
    dnsbl = Dnsbl(place[1], "--rate-limit", "2")
    try:
        assert dnsbl.lists("1.1.240.91")
        assert dnsbl.lists("1.1.240.91")
        query = dns.message.make_query(f"1.1.240.91.{ZONE}", "A")
        with pytest.raises(dns.exception.Timeout):
            dns.query.udp(query, HOST, port=dnsbl.port, timeout=1)
        with pytest.raises(EOFError):
            dns.query.tcp(query, HOST, port=dnsbl.port, timeout=5)
    finally:
        dnsbl.stop()


def test_a_server_elsewhere_is_followed_with_a_key(place: tuple[LiveServer, Path], tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(READER)
    command = [sys.executable, "-m", "threatcloud", "dnsbl", ZONE, "--port", "0", "--url", place[0].url]
    process = subprocess.Popen([*command, "--api-key-file", str(key)], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        assert "answers for bl.example.org" in process.stderr.readline()
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


def test_it_wants_a_server_that_runs(tmp_path: Path) -> None:
    (tmp_path / "threat-cloud.db").touch()
    command = [sys.executable, "-m", "threatcloud", "dnsbl", ZONE, "--db-path", str(tmp_path / "threat-cloud.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 5
    assert "no server runs" in done.stderr


@pytest.mark.skipif(DIG is None, reason="dig is not installed")
def test_dig_reads_the_answers(running: Dnsbl) -> None:
    assert DIG
    base = [DIG, "-p", str(running.port), f"@{HOST}", "+short"]

    def dig(*words: str) -> str:
        return subprocess.run([*base, *words], capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    assert dig(f"1.1.240.91.{ZONE}") == "127.0.0.6"
    assert dig("+tcp", f"2.0.0.127.{ZONE}") == "127.0.0.2"
    assert dig(f"1.0.0.127.{ZONE}") == ""
    assert dig(ZONE, "SOA").startswith(f"ns.{ZONE}. hostmaster.{ZONE}.")


@pytest.mark.skipif(UNBOUND is None, reason="unbound is not installed")
def test_a_resolver_finds_what_is_listed(running: Dnsbl, tmp_path: Path) -> None:
    """An unbound that asks label by label, as mail servers have it."""
    assert UNBOUND
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    config = tmp_path / "unbound.conf"
    config.write_text(
        f"server:\n interface: {HOST}@{port}\n do-daemonize: no\n username: ''\n chroot: ''\n directory: '{tmp_path}'\n"
        f" pidfile: '{tmp_path}/pid'\n use-syslog: no\n do-not-query-localhost: no\n qname-minimisation: yes\n"
        f" module-config: 'iterator'\n"
        f"stub-zone:\n name: {ZONE}\n stub-addr: {HOST}@{running.port}\n"
    )
    process = subprocess.Popen([UNBOUND, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def resolved(name: str) -> str | None:
        query = dns.message.make_query(f"{name}.{ZONE}", "A")
        try:
            answer = dns.query.udp(query, HOST, port=port, timeout=2)
        except (dns.exception.Timeout, OSError):
            return None
        return answer.answer[0][0].to_text() if answer.answer else dns.rcode.to_text(answer.rcode())

    ipv6 = ".".join(reversed("2a0e" + "0" * 27 + "7"))
    try:
        assert within(20, lambda: resolved("2.0.0.127") == "127.0.0.2")
        names = ("1.1.240.91", "77.0.241.91", "bad.xyz", ipv6, "3.3.240.91", "good.xyz")
        assert [resolved(name) for name in names] == [
            "127.0.0.6", "127.0.0.8", "127.0.0.4", "127.0.0.9", "NXDOMAIN", "NXDOMAIN",
        ]  # fmt: skip
    finally:
        process.terminate()
        process.wait(20)
