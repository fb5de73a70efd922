"""Several processes on one database: whoever answers, it is one server."""

import itertools
import json
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import Place
from tests.e2e.processes import KEY, Line, Reply, home_of, lines_to_all, start, wait_until
from threatcloud.http.endpoint import Endpoint
from threatcloud.http.routes import ENDPOINTS

WORKERS: Final = 3
_numbers: Final = itertools.count(1)
#: What one answer says otherwise than the next, whoever gives it.
_OF_THE_MOMENT: Final = re.compile(rb'"(updatedAt|generatedAt|uptime|requestId|logOdds|ageFactor)":("[^"]*"|[\d.-]+)')
#: The length is that of the body, or there would be no answer; the id of the request is in it.
_HEADERS_OF_THE_MOMENT: Final = {
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "date",
    "content-length",
    "x-request-id",
    "ratelimit-remaining",
    "ratelimit-reset",
}


def fresh_ip() -> str:
    high, low = divmod(next(_numbers), 250)
    return f"91.240.{high}.{low + 1}"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("many"))
    server = start(place, WORKERS)
    yield place
    assert server.stop() == 0
    place.end()


@pytest.fixture(scope="module")
def lines(many: Place) -> Iterator[dict[str, Line]]:
    with lines_to_all(many.url, WORKERS) as found:
        yield found


def shown(reply: Reply) -> tuple[int, dict[str, str], bytes]:
    """An answer without what is of the moment."""
    headers = {name: value for name, value in reply.headers.items() if name not in _HEADERS_OF_THE_MOMENT}
    return reply.status, headers, _OF_THE_MOMENT.sub(b"", reply.body)


class Known:
    """What the paths of the table are filled with: things that are there."""

    def __init__(self, line: Line) -> None:
        self.address = fresh_ip()
        line.report(self.address)
        rule = {"ruleId": "known", "ruleContent": "title: known\ndetection: {}\n", "source": "sigma"}
        assert line.ask("POST", "/api/rules", {"rules": [rule]}).status == 201
        made = line.ask("POST", "/api/campaigns", {"name": "Known", "iocs": [self.address]})
        assert made.status == 201
        self.campaign = made.data["id"]

    def path(self, endpoint: Endpoint) -> str:
        """A path of the endpoint."""
        ids = {"rules": "known", "campaigns": self.campaign}
        known = next((ids[segment] for segment in endpoint.segments if segment in ids), "unknown")
        words = {"value": self.address, "prefix": "0a0b", "name": "ip-blocklist", "id": known, "file": "manifest.json"}
        words |= {"versions": "v20260101.000001..v20260101.000002", "object": "indicator--0"}
        if endpoint.streams:
            return f"{endpoint.path}?follow=false"
        query = f"?value={self.address}" if endpoint.path == "/api/sightings" and endpoint.method == "GET" else ""
        if endpoint.path == "/v1/decisions/stream":
            query = "?startup=true"  # else it depends on what was answered before
        return re.sub(r"\{(\w+)\}", lambda found: words[found[1]], endpoint.path) + query


@pytest.fixture(scope="module")
def known(lines: dict[str, Line]) -> Known:
    return Known(next(iter(lines.values())))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_process_gives_the_same_answer(
    many: Place, lines: dict[str, Line], known: Known, endpoint: Endpoint
) -> None:
    """Of routes that write, the refusal of a body that is none: all had to be read, and nothing changes."""
    path = known.path(endpoint)
    wrong = f"{path}{'&' if '?' in path else '?'}no=such"
    asked: list[tuple[str, str, Any]] = [(endpoint.method, path, None), (endpoint.method, wrong, None)]
    if endpoint.method == "GET":
        asked.append(("HEAD", path, None))
    elif endpoint.body is not None:
        asked[0] = (endpoint.method, path, endpoint.example if endpoint.from_database else b"{")
    else:
        asked.pop(0)
    for method, target, body in asked:
        answers = {name: line.ask(method, target, body) for name, line in lines.items()}
        assert all(answer.status < 500 for answer in answers.values()), answers
        if endpoint.path == "/metrics" and "?" not in target:
            assert len({(answer.status, answer.headers["content-type"]) for answer in answers.values()}) == 1
            continue
        first, *others = map(shown, answers.values())
        assert others == [first] * (WORKERS - 1)
        by = {answer.headers["x-request-id"].partition("-")[0] for answer in answers.values()}
        assert by == (lines.keys() if endpoint.from_database else {home_of(many.url)})


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/nothing", {}),
        ("PUT", "/api/iocs", {}),
        ("GET", "/api/iocs/%ff", {}),
        ("POST", "/api/threats", {"Content-Type": "text/plain"}),
        ("GET", "/api/feeds/ip-blocklist", {"Accept-Encoding": "gzip"}),
        ("GET", "/api/feeds/ip-blocklist", {"Authorization": "Basic OmEta2V5LWZvci10aGlzLXRlc3Q="}),
        ("GET", "/api/keys", {"Authorization": "Bearer nobodys-key"}),
    ],
)
def test_refusals_and_codings_are_the_same_everywhere(
    lines: dict[str, Line], method: str, path: str, headers: dict[str, str]
) -> None:
    body = b"{}" if method == "POST" else None
    first, *others = [shown(line.ask(method, path, body, headers)) for line in lines.values()]
    assert others == [first] * (WORKERS - 1)


def test_a_list_that_has_not_changed_is_not_sent_again(lines: dict[str, Line]) -> None:
    for line in lines.values():
        etag = line.ask("GET", "/api/feeds/ip-blocklist").headers["etag"]
        again = line.ask("GET", "/api/feeds/ip-blocklist", headers={"If-None-Match": etag})
        assert (again.status, again.body) == (304, b"")


def test_bodies_arrive_in_chunks_and_whole_and_have_their_limit(lines: dict[str, Line]) -> None:
    for line in lines.values():
        item = {"type": "ip", "value": fresh_ip(), "source": "manual", "description": "x" * 500}
        body = json.dumps({"threats": [item] * 100}).encode()
        pieces = (body[at : at + 1_000] for at in range(0, len(body), 1_000))
        assert line.ask("POST", "/api/threats", pieces).status == 201
        assert line.ask("POST", "/api/threats", body).status == 201


def test_too_large_a_body_is_refused_by_every_process(many: Place) -> None:
    with lines_to_all(many.url, WORKERS) as own:
        for line in own.values():
            reply = line.ask("POST", "/api/threats", b" " * 1_100_000)
            assert (reply.status, reply.headers["connection"]) == (413, "close")


def test_what_was_acknowledged_is_seen_by_every_process_at_once(many: Place) -> None:
    """Twelve write without a pause, each through a process, and ask all of them after every answer."""

    def write(number: int) -> list[str]:
        missed = []
        with lines_to_all(many.url, WORKERS) as own:
            through = list(own.values())[number % WORKERS]
            for value, sightings in itertools.product([fresh_ip() for _ in range(25)], (1, 2)):
                through.report(value)
                for name, line in own.items():
                    detail = line.ask("GET", f"/api/iocs/{value}")
                    if detail.status != 200 or detail.data["sightings"] != sightings:
                        missed.append(f"{name}: {detail}")
                    found = line.ask("GET", f"/api/sightings?value={value}")
                    if found.status != 200 or len(found.data) != sightings:
                        missed.append(f"{name}: {found}")
        return missed

    with ThreadPoolExecutor(12) as pool:
        assert list(itertools.chain(*pool.map(write, range(12)))) == []


def test_new_networks_and_reporters_are_known_to_every_process(many: Place, lines: dict[str, Line]) -> None:
    first = next(iter(lines.values()))
    for number in range(5):
        made = first.ask("POST", "/api/keys", {"name": f"n{number}", "scopes": ["write"], "role": "agent"}).data
        reporter = Line(many.url, made["key"])
        reporter.report(f"91.239.{number}.0/24")
        for line in lines.values():
            around = line.ask("GET", f"/api/iocs/91.239.{number}.7").data["networks"]
            assert [network["value"] for network in around] == [f"91.239.{number}.0/24"]
            shares = line.ask("GET", f"/api/iocs/91.239.{number}.0%2F24/explain").data
            assert made["info"]["id"] in json.dumps(shares)
        reporter.close()


def test_a_revoked_key_is_refused_by_every_process_at_once(many: Place, lines: dict[str, Line]) -> None:
    through = itertools.cycle(lines.values())
    for _ in range(10):
        made = next(through).ask("POST", "/api/keys", {"name": "short-lived", "scopes": ["read"]}).data
        with lines_to_all(many.url, WORKERS, made["key"]) as own:
            assert {line.ask("GET", "/api/stats").status for line in own.values()} == {200}
            assert next(through).ask("DELETE", f"/api/keys/{made['info']['id']}").status == 200
            for path in ("/api/stats", "/api/feeds"):
                assert {line.ask("GET", path).status for line in own.values()} == {401}


def test_every_process_tells_changes_until_the_key_is_revoked(many: Place, lines: dict[str, Line]) -> None:
    first = next(iter(lines.values()))
    made = first.ask("POST", "/api/keys", {"name": "follower", "scopes": ["read"]}).data
    with lines_to_all(many.url, WORKERS, made["key"]) as own:
        streams = [line.open("/api/stream?events=listed") for line in own.values()]
        value = fresh_ip()
        first.report(value)
        for stream in streams:
            told = b""
            while b"data: " not in told:
                told += stream.readline()
            assert b"event: listed" in told
        assert first.ask("DELETE", f"/api/keys/{made['info']['id']}").status == 200
        for stream in streams:
            assert b"event:" not in stream.read()  # to its end


def test_what_readers_count_is_in_the_metrics_and_in_the_audit_log(many: Place, lines: dict[str, Line]) -> None:
    for line in lines.values():
        for _ in range(10):
            assert line.ask("GET", "/api/atr-rules").status == 200
    asker = next(iter(lines.values()))
    wanted = b'threatcloud_requests_total{method="GET",route="/api/atr-rules",status="200"} '

    def counted() -> int:
        text = asker.ask("GET", "/metrics").body
        return int(float(text.partition(wanted)[2].partition(b"\n")[0] or 0))

    before = counted()
    wait_until(lambda: counted() >= 30, f"{before} are counted")


def test_only_a_reader_is_believed_whose_request_it_is(lines: dict[str, Line]) -> None:
    liar = {"X-Threat-Cloud-Client": "203.0.113.9", "X-Threat-Cloud-Counts": "1"}
    for line in lines.values():
        made = line.ask("POST", "/api/keys", {"name": "x", "scopes": ["read"]}, liar)
        assert made.status == 201
        entry = line.ask("GET", "/api/audit-log?action=create&limit=1").data[0]
        assert (entry["resource"], entry["ip"]) == ("key", "127.0.0.1")


def test_an_erased_value_is_gone_from_every_process_and_from_the_files(many: Place, lines: dict[str, Line]) -> None:
    """Readers hold what they read open; a busy one and idle ones must let the log be emptied."""
    stop = threading.Event()

    def keep_asking(line: Line) -> None:
        while not stop.is_set():
            line.ask("GET", "/api/stats")

    with lines_to_all(many.url, WORKERS) as busy, ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(keep_asking, line) for line in list(busy.values())[:2]]
        try:
            for number, line in enumerate(lines.values()):
                _erase(many, line, lines, f"erased-{number}-7f3a9c.example")
        finally:
            stop.set()
            for done in asking:
                done.result()


def _erase(many: Place, line: Line, lines: dict[str, Line], value: str) -> None:
    item = {"type": "domain", "value": value, "source": "manual", "severity": "high"}
    assert line.ask("POST", "/api/threats", {"threats": [item]}).status == 201
    assert {other.ask("GET", f"/api/iocs/{value}").status for other in lines.values()} == {200}
    assert line.ask("DELETE", f"/api/iocs/{value}").status == 200
    assert {other.ask("GET", f"/api/iocs/{value}").status for other in lines.values()} == {404}
    for path in (many.database, many.database.with_name(many.database.name + "-wal")):
        assert value.encode() not in _bytes(path), path


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_every_process_speaks_tls(place: Place) -> None:
    key, cert = place.folder / "key.pem", place.folder / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, "-keyout", key, "-out", cert, *names], check=True, capture_output=True)
    server = start(place, 2, TC_TLS_CERT=str(cert), TC_TLS_KEY=str(key))
    with lines_to_all(place.url, 2, context=ssl.create_default_context(cafile=cert)) as lines:
        for line in lines.values():
            line.report(fresh_ip())
            reply = line.ask("GET", "/api/feeds/ip-blocklist")
            assert (reply.status, reply.headers["strict-transport-security"]) == (200, "max-age=31536000")
    assert server.stop() == 0


def test_limits_hold_across_processes(place: Place) -> None:
    server = start(place, 4, TC_RATE_LIMIT_READ="60", TC_API_KEYS=f"{KEY}:read")

    def ask(line: Line) -> list[int]:
        return [line.ask("GET", "/api/stats").status for _ in range(20)]

    with lines_to_all(place.url, 4) as own, ThreadPoolExecutor(20) as pool:
        lines = [*own.values(), *(Line(place.url) for _ in range(16))]
        began_s = time.monotonic()
        statuses = list(itertools.chain(*pool.map(ask, lines)))
        took_s = time.monotonic() - began_s
        for line in lines:
            assert line.ask("GET", "/api/stats").headers["ratelimit-limit"] == "60"
            line.close()
    assert set(statuses) == {200, 429}
    # One a second comes anew. What others take between one's reading and storing is not counted: on a busy machine that
    # may be a time slice. Four limits of their own would let 240 through.
    assert 60 <= statuses.count(200) <= 60 + took_s + 20
    assert server.stop() == 0
