"""The protocol on real sockets: broken, over-long and unusual HTTP is bounded and answered."""

import pytest

from tests.http.protocol.sites import GET, GET_AND_CLOSE, Site, assert_refused, running, wait_until
from threatcloud.http.protocol import ServerLimits

BROKEN = {
    "garbage": b"\x00\xff\xfe garbage",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\n\r\n",
    "no protocol": b"GET / FTP/1.1\r\n\r\n",
    "unknown method": b"FETCH / HTTP/1.1\r\n\r\n",
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    "relative target": b"GET foo HTTP/1.1\r\n\r\n",
    "bytes in the target": b"GET /\xff HTTP/1.1\r\n\r\n",
    "impossible port": b"GET http://a:99999/ HTTP/1.1\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "header without colon": b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    "space in a header name": b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "negative length": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    "chunks and length": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n",
    "unknown coding": b"DELETE / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "bad chunk size": b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("request_", BROKEN.values(), ids=BROKEN.keys())
def test_broken_http_gets_the_envelope_and_never_reaches_the_app(site: Site, request_: bytes) -> None:
    site.app.served.clear()
    assert_refused(site.refusal(request_), 400, "bad_request")
    assert site.app.served == []


def test_a_body_that_breaks_off_is_a_client_that_left_to_the_app(site: Site) -> None:
    with site.connection() as client:
        client.send(b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Request-Id: mine\r\n\r\n1\r\na\r\n")
        assert client.is_silent()
        client.send(b"zz\r\n")
        answers = client.read_all()
    assert [answer.status for answer in answers] == [400]
    assert_refused(answers[0], 400, "bad_request")
    assert answers[0].headers["x-request-id"] == "mine"


def test_an_app_that_asks_for_a_broken_body_late_does_not_write_after_the_end(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with site.connection() as client:
        client.send(b"POST /late HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.is_silent()
        client.send(b"zz\r\n")
        assert [answer.status for answer in client.read_all()] == [400]
        wait_until(lambda: site.tasks == 0)
    assert caplog.records == []


def test_an_answer_already_begun_is_cut_short_by_a_broken_body(site: Site) -> None:
    with site.connection() as client:
        client.send(b"POST /begin HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
        client.send(b"zz\r\n")
        assert client.file.read().endswith(b"5\r\nbegun\r\n")


def test_refusals_wait_for_the_answers_owed(site: Site) -> None:
    slow = b"GET /slow HTTP/1.1\r\n\r\n"
    for broken in (b"nonsense\r\n\r\n", BROKEN["bad chunk size"]):
        answers = site.ask(slow + GET + broken)
        assert [answer.status for answer in answers] == [200, 200, 400]
        assert answers[0].body == b"slow"
        assert_refused(answers[2], 400, "bad_request")


def test_pipelined_requests_are_answered_in_order_up_to_a_bound(loop: str) -> None:
    with running(ServerLimits(pipelined_requests=3, sweep_s=0.02), loop) as site:
        paths = [f"/{n}" for n in range(6)]
        answers = site.ask(b"".join(b"GET %s HTTP/1.1\r\n\r\n" % path.encode() for path in paths))
        assert [answer.envelope["path"] for answer in answers[:-1]] == paths[:4]
        assert_refused(answers[-1], 503, "busy")


def test_a_client_that_leaves_has_left_for_the_app_that_answers_it(site: Site) -> None:
    with site.connection() as client:
        client.send(b"GET /begin HTTP/1.1\r\n\r\n" + GET)
        assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
    wait_until(lambda: site.tasks == 0)


@pytest.mark.parametrize("size", [8 * 1024 + 1, 1024 * 1024])
@pytest.mark.parametrize("ends", [True, False])
def test_an_over_long_target_is_414(site: Site, size: int, ends: bool) -> None:
    line = b"GET /" + b"a" * (size - 1) + (b" HTTP/1.1\r\n\r\n" if ends else b"")
    assert_refused(site.refusal(line), 414, "uri_too_long")
    pieces = [line[at : at + 5_000] for at in range(0, len(line), 5_000)]
    assert_refused(site.refusal(*pieces), 414, "uri_too_long")


def test_a_target_of_8_kib_is_served(site: Site) -> None:
    query = b"q=" + b"a" * (8 * 1024 - 4)
    answers = site.ask(b"GET /?%s HTTP/1.1\r\nConnection: close\r\n\r\n" % query)
    assert answers[0].envelope["query_string"] == query.decode()


TOO_LARGE = {
    "one header": b"A: " + b"a" * 33_000 + b"\r\n\r\n",
    "many bytes in many headers": b"".join(b"A%d: %s\r\n" % (n, b"a" * 1000) for n in range(40)) + b"\r\n",
    "too many": b"".join(b"A%d: a\r\n" % n for n in range(101)) + b"\r\n",
    "one that never ends": b"A: " + b"a" * 1024 * 1024,
    "a name that never ends": b"A" * 1024 * 1024,
    "headers that never end": b"A: a\r\n" * 200_000,
}


@pytest.mark.parametrize("headers", TOO_LARGE.values(), ids=TOO_LARGE.keys())
@pytest.mark.parametrize("piece", [4_000, 2**30])
def test_too_many_or_too_large_headers_are_431(site: Site, headers: bytes, piece: int) -> None:
    request = b"GET / HTTP/1.1\r\n" + headers
    pieces = [request[at : at + piece] for at in range(0, len(request), piece)]
    assert_refused(site.refusal(*pieces), 431, "headers_too_large")


def test_headers_at_the_bounds_are_served(site: Site) -> None:
    many = b"".join(b"A%d: a\r\n" % n for n in range(99))
    large = b"B: " + b"a" * 30_000 + b"\r\n"
    for headers in (many, large):
        answers = site.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n" + headers + b"\r\n")
        assert [answer.status for answer in answers] == [200]


def test_a_head_that_follows_a_large_body_in_one_piece_has_all_its_room(site: Site) -> None:
    with site.connection() as client, site.connection() as other:
        other.send(b"GET /block HTTP/1.1\r\n\r\n")
        assert other.is_silent()  # so that all of this is there when the server reads on
        client.send(b"POST /echo HTTP/1.1\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000) + b"GET / HTT")
        assert client.answer().status == 200
        client.send(b"P/1.1\r\n\r\n")
        assert client.answer().status == 200


def test_trailers_are_bounded_and_no_headers(site: Site) -> None:
    post = b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answers = site.ask(post, b"1\r\na\r\n0\r\nAuthorization: b\r\n\r\n")
    assert (answers[0].status, answers[0].body) == (200, b"a")
    assert "authorization" not in answers[0].headers["x-names"]
    endless = [b"T%d: a\r\n" % n * 500 for n in range(100)]
    assert_refused(site.refusal(post, b"1\r\na\r\n0\r\n", *endless), 400, "bad_request")


@pytest.mark.parametrize("split", [1, 2, 7, 40])
def test_requests_in_pieces_are_whole_to_the_app(site: Site, split: int) -> None:
    requests = (
        GET
        + b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
        + b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"
        + GET_AND_CLOSE
    )
    answers = site.ask(*(requests[at : at + split] for at in range(0, len(requests), split)))
    assert [answer.status for answer in answers] == [200] * 4
    assert [answer.body for answer in answers[1:3]] == [b"hello", b"hello"]


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        ("/a%2Fb/c", "/a/b/c", "/a%2Fb/c", ""),
        (
            "/http%3A%2F%2Fexample.com%2F?q=%31",
            "/http://example.com/",
            "/http%3A%2F%2Fexample.com%2F",
            "q=%31",
        ),
        ("http://example.com/a%20b?q", "/a b", "/a%20b", "q"),
        ("http://example.com?q", "/", "/", "q"),
        ("http://example.com", "/", "/", ""),
        ("*", "*", "*", ""),
    ],
)
def test_the_target_is_given_decoded_and_raw(site: Site, target: str, path: str, raw_path: str, query: str) -> None:
    [answer] = site.ask(f"OPTIONS {target} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    asked = answer.envelope
    assert (asked["path"], asked["raw_path"], asked["query_string"]) == (path, raw_path, query)


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_an_upgrade_is_an_ordinary_request(site: Site, upgrade: str, caplog: pytest.LogCaptureFixture) -> None:
    head = f"HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\nX-Mine: 1\r\n".encode()
    answers = site.ask(
        b"GET /a?b " + head + b"\r\n" + b"POST /echo " + head + b"Content-Length: 5\r\n\r\nhel",
        b"lo",
        GET_AND_CLOSE,
    )
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert (answers[0].envelope["raw_path"], answers[0].envelope["query_string"]) == ("/a", "b")
    assert answers[0].envelope["headers"]["x-mine"] == "1"
    assert answers[1].body == b"hello"
    assert caplog.records == []


def test_http_1_0_ends_with_the_connection_and_gets_no_chunks(site: Site) -> None:
    [mirror] = site.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert (mirror.status, mirror.envelope["http_version"]) == (200, "1.0")
    [stream] = site.ask(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert "transfer-encoding" not in stream.headers
    assert stream.body == b"in pieces"
    [modern, _] = site.ask(b"GET /stream HTTP/1.1\r\n\r\n" + GET_AND_CLOSE)
    assert modern.headers["transfer-encoding"] == "chunked"
    assert modern.body == b"in pieces"


def test_an_app_that_fails_is_a_500_in_the_envelope(site: Site) -> None:
    [answer] = site.ask(b"GET /crash HTTP/1.1\r\nX-Request-Id: abc\r\n\r\n")
    assert_refused(answer, 500, "internal")
    assert answer.headers["x-request-id"] == "abc"


def test_continue_is_sent_only_when_the_app_asks_for_the_body(site: Site) -> None:
    head = b" HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with site.connection() as client:
        client.send(b"POST /echo" + head)
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.file.readline() == b"\r\n"
        client.send(b"hello")
        answer = client.answer()
        assert answer.body == b"hello"
        client.send(b"POST /early" + head)  # the client may now send the body or not: nothing may be served after
        assert [answer.status for answer in client.read_all()] == [413]


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
def test_an_answer_given_early_is_read_by_a_client_that_sends_first(site: Site, connection: bytes) -> None:
    size = 5 * 1024 * 1024
    head = b"POST /early HTTP/1.1\r\nConnection: %s\r\nContent-Length: %d\r\n\r\n" % (connection, size)
    assert [answer.status for answer in site.ask(head, bytes(size))] == [413]


def test_after_an_early_answer_a_small_body_keeps_the_connection(site: Site) -> None:
    with site.connection() as client:
        client.send(b"POST /early HTTP/1.1\r\nContent-Length: 30000\r\n\r\n")
        answer = client.answer()
        assert answer.status == 413
        client.send(b"GET /evil HTTP/1.1\r\n\r\n" + bytes(30_000 - 22) + GET_AND_CLOSE)
        assert [answer.envelope["path"] for answer in client.read_all()] == ["/"]


def test_a_connection_serves_no_more_after_connection_close(site: Site) -> None:
    answers = site.ask(GET_AND_CLOSE + b"GET /later HTTP/1.1\r\n\r\n" * 10)
    assert [answer.envelope["path"] for answer in answers] == ["/"]
