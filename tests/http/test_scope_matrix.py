"""Who may call what: every route with every kind of credential in every mode, against section 1.1 of the contract.

What is expected is stated here a second time, route by route, and never read from the declarations: a route that was
declared with the wrong access, or that nobody has stated here, fails.
"""

import base64
import itertools
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, NamedTuple

import httpx
import msgspec
import pytest

from tests.engines import Engine
from tests.http.conftest import OPERATOR, LiveServer, refused, serve_in
from threatcloud.http.endpoint import Endpoint
from threatcloud.http.local import ENDPOINTS as LOCAL_ENDPOINTS
from threatcloud.http.routes import ENDPOINTS

PUBLIC_READ: Final = "TC_PUBLIC_READ"
ANONYMOUS_UPLOAD: Final = "ALLOW_ANONYMOUS_UPLOAD"
MODES: Final = {
    "default": (),
    "public read": (PUBLIC_READ,),
    "anonymous upload": (ANONYMOUS_UPLOAD,),
    "both": (PUBLIC_READ, ANONYMOUS_UPLOAD),
}


class Needs(NamedTuple):
    """One of these scopes, or nothing in a mode; ``basic`` where the key may come as a password, ``bare`` alone."""

    scopes: frozenset[str]
    nothing_in: str | None = None
    basic: bool = False
    bare: bool = False


class Rule(Enum):
    """The rows of section 1.1."""

    NOTHING = None
    READ = Needs(frozenset({"read"}), nothing_in=PUBLIC_READ)
    READ_NEVER_PUBLIC = Needs(frozenset({"read"}))
    FEEDS = Needs(frozenset({"feeds", "read"}), nothing_in=PUBLIC_READ, basic=True)
    REPORT = Needs(frozenset({"write"}), nothing_in=ANONYMOUS_UPLOAD)
    WRITE = Needs(frozenset({"write"}))
    EXCHANGE = Needs(frozenset({"write"}), basic=True)
    BARE = Needs(frozenset({"feeds", "read"}), bare=True)
    AUDIT = Needs(frozenset({"audit"}))
    ADMIN = Needs(frozenset({"admin"}))


#: Section 1.1 for every route; ``*`` is a variable segment.
CONTRACT: Final = {
    "GET /health": Rule.NOTHING,
    "GET /ready": Rule.NOTHING,
    "GET /openapi.json": Rule.NOTHING,
    "GET /docs": Rule.NOTHING,
    "GET /docs/style.css": Rule.NOTHING,
    "GET /metrics": Rule.READ_NEVER_PUBLIC,
    "POST /api/threats": Rule.REPORT,
    "POST /api/trap-intel": Rule.REPORT,
    "POST /api/import": Rule.WRITE,
    "GET /api/iocs": Rule.READ,
    "GET /api/iocs/*": Rule.READ,
    "DELETE /api/iocs/*": Rule.ADMIN,
    "GET /api/iocs/*/explain": Rule.READ,
    "GET /api/iocs/range/*": Rule.READ,
    "POST /api/iocs/lookup": Rule.READ,
    "GET /api/sightings": Rule.READ_NEVER_PUBLIC,
    "POST /api/sightings": Rule.WRITE,
    "GET /api/feeds": Rule.FEEDS,
    "POST /api/feeds/*/confirm": Rule.ADMIN,
    "GET /api/feeds/ip-blocklist": Rule.FEEDS,
    "GET /api/feeds/domain-blocklist": Rule.FEEDS,
    "GET /api/feeds/url-blocklist": Rule.FEEDS,
    "GET /api/feeds/hash-blocklist": Rule.FEEDS,
    "GET /api/feeds/all": Rule.FEEDS,
    "GET /api/feeds/attack-layer": Rule.FEEDS,
    "GET /api/feeds/misp/*": Rule.FEEDS,
    "GET /api/feeds/*": Rule.FEEDS,
    "GET /api/feeds/*/deltas/*": Rule.FEEDS,
    "GET /api/feeds/iocs": Rule.FEEDS,
    "GET /api/feeds/agent-update": Rule.FEEDS,
    "GET /taxii2/": Rule.FEEDS,
    "GET /taxii2/api/": Rule.FEEDS,
    "GET /taxii2/api/collections/": Rule.FEEDS,
    "GET /taxii2/api/collections/*/": Rule.FEEDS,
    "GET /taxii2/api/collections/*/objects/": Rule.FEEDS,
    "POST /taxii2/api/collections/*/objects/": Rule.EXCHANGE,
    "GET /taxii2/api/collections/*/manifest/": Rule.FEEDS,
    "GET /taxii2/api/collections/*/objects/*/": Rule.FEEDS,
    "GET /taxii2/api/collections/*/objects/*/versions/": Rule.FEEDS,
    "GET /taxii2/api/status/*/": Rule.EXCHANGE,
    "POST /attributes/restSearch": Rule.BARE,
    "GET /servers/getVersion": Rule.BARE,
    "GET /users/view/me": Rule.BARE,
    "GET /api/agents": Rule.READ_NEVER_PUBLIC,
    "GET /api/agents/*": Rule.READ_NEVER_PUBLIC,
    "GET /api/rules": Rule.READ,
    "GET /api/rules/*": Rule.READ,
    "POST /api/rules": Rule.WRITE,
    "DELETE /api/rules/*": Rule.WRITE,
    "GET /api/atr-rules": Rule.READ,
    "GET /api/campaigns": Rule.READ,
    "GET /api/campaigns/stats": Rule.READ,
    "GET /api/campaigns/*": Rule.READ,
    "POST /api/campaigns": Rule.WRITE,
    "PATCH /api/campaigns/*": Rule.WRITE,
    "DELETE /api/campaigns/*": Rule.WRITE,
    "GET /api/campaigns/*/iocs": Rule.READ,
    "GET /api/stream": Rule.READ,
    "GET /api/stats": Rule.READ,
    "GET /api/query/timeseries": Rule.READ,
    "GET /api/query/geo": Rule.READ,
    "GET /api/query/trends": Rule.READ,
    "GET /api/query/mitre-heatmap": Rule.READ,
    "GET /api/audit-log": Rule.AUDIT,
    "GET /api/keys": Rule.ADMIN,
    "POST /api/keys": Rule.ADMIN,
    "DELETE /api/keys/*": Rule.ADMIN,
    "POST /api/keys/*/rotate": Rule.ADMIN,
    "DELETE /api/keys/*/contributions": Rule.ADMIN,
    "GET /api/sources": Rule.ADMIN,
    "POST /api/sources": Rule.ADMIN,
    "DELETE /api/sources/*": Rule.ADMIN,
    "POST /api/sources/*/poll": Rule.ADMIN,
    "POST /api/sources/*/confirm": Rule.ADMIN,
    "GET /api/webhooks": Rule.ADMIN,
    "POST /api/webhooks": Rule.ADMIN,
    "DELETE /api/webhooks/*": Rule.ADMIN,
    "GET /api/webhooks/*/deliveries": Rule.ADMIN,
    "POST /api/webhooks/*/test": Rule.ADMIN,
    "POST /api/webhooks/*/retry": Rule.ADMIN,
    "GET /api/allowlist": Rule.ADMIN,
    "POST /api/allowlist": Rule.ADMIN,
    "DELETE /api/allowlist/*": Rule.ADMIN,
    "GET /api/v2/check": Rule.READ,
    "GET /api/v2/check-block": Rule.READ,
    "GET /api/v2/blacklist": Rule.FEEDS,
    "GET /v1/decisions": Rule.FEEDS,
    "GET /v1/decisions/stream": Rule.FEEDS,
    "POST /api/v2/report": Rule.WRITE,
    "POST /api/v2/bulk-report": Rule.WRITE,
}


#: Routes of an interface that says 403 to whoever has no key, too.
SAYING_403: Final = frozenset({"GET /v1/decisions", "GET /v1/decisions/stream"})


class Credential(NamedTuple):
    """A way to say who calls. ``scopes`` are those of the key, None where it is no key that anybody was given."""

    name: str
    authorization: bytes | None
    scopes: frozenset[str] | None = None
    is_basic: bool = False
    is_bare: bool = False


SCOPES: Final = ("read", "write", "audit", "admin", "feeds")
KEYS: Final = {scope: f"only-{scope}-0123456789abcdef" for scope in SCOPES} | {"+".join(SCOPES): "all-0123456789abcdef"}
UNKNOWN_KEY: Final = "unknown-0123456789abcdef"


def _basic(password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"firewall:{password}".encode())


def _credentials() -> Iterator[Credential]:
    yield Credential("no key", None)
    yield Credential("unknown key", f"Bearer {UNKNOWN_KEY}".encode())
    yield Credential("unknown key by Basic", _basic(UNKNOWN_KEY))
    some_key = KEYS["read"].encode()
    for malformed in (b"", b"Bearer", b"Bearer \xff", b"Token " + some_key, b"Basic " + some_key, b"Basic !"):
        yield Credential(f"malformed {malformed!r}", malformed)
    for words, key in KEYS.items():
        scopes = frozenset(words.split("+"))
        yield Credential(f"key with {words}", f"Bearer {key}".encode(), scopes)
        yield Credential(f"key with {words} by Basic", _basic(key), scopes, is_basic=True)
        yield Credential(f"key with {words} alone", key.encode(), scopes, is_bare=True)


CREDENTIALS: Final = tuple(_credentials())


def expected(rule: Rule, credential: Credential, mode: tuple[str, ...]) -> str:
    """What the contract says: ``served``, ``401`` or ``403``."""
    needs = rule.value
    if needs is None:
        return "served"
    if credential.authorization is None:
        return "served" if needs.nothing_in in mode else "401"
    is_refused = (credential.is_basic and not needs.basic) or (credential.is_bare and not needs.bare)
    if credential.scopes is None or is_refused:
        return "401"  # what is sent must be a key, also where none is needed
    return "served" if needs.nothing_in in mode or needs.scopes & credential.scopes else "403"


def got(answer: httpx.Response) -> str:
    """What became of a request: ``served`` is any status but 401, 403 and those of a broken server."""
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.status_code < 500, answer.text
    return str(answer.status_code) if answer.status_code in {401, 403} else "served"


#: For variable segments by name, so that the requests are valid; any other segment names nothing that exists.
_SEGMENTS: Final = {"value": "192.0.2.1", "prefix": "abcd"}


def _concrete(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: _SEGMENTS.get(found[1], "none-such"), path)


def _target(endpoint: Endpoint) -> dict[str, Any]:
    """The arguments of a valid request: where the declaration has an example, that is its body."""
    params = {item.encode_name: "192.0.2.1" for item in msgspec.structs.fields(endpoint.query) if item.required}
    params |= {"follow": "false"} if endpoint.streams else {}
    return {"url": _concrete(endpoint.path), "params": params, "json": endpoint.example}


def _status(anyone: httpx.Client, endpoint: Endpoint, method: str, credential: Credential) -> str:
    sent = {} if credential.authorization is None else {b"Authorization": credential.authorization}
    return got(anyone.request(method, **_target(endpoint), headers=list(sent.items())))


def _name(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def _rule(endpoint: Endpoint) -> Rule | None:
    return CONTRACT.get(re.sub(r"\{\w+\}", "*", _name(endpoint)))


class Site(NamedTuple):
    """A server in a mode, and a client of it that sends no key."""

    anyone: httpx.Client
    mode: tuple[str, ...]


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def site(
    request: pytest.FixtureRequest, module_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One for each mode."""
    entries = {"TC_API_KEYS": ",".join(f"{key}:{scopes}" for scopes, key in KEYS.items())}
    live = serve_in(tmp_path_factory.mktemp("matrix"), module_engine, entries | dict.fromkeys(request.param, "true"))
    yield Site(live.client(None), request.param)
    live.stop()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=_name)
def test_each_route_has_its_rule(endpoint: Endpoint) -> None:
    assert _rule(endpoint) is not None, f"{_name(endpoint)}: state in CONTRACT which row of section 1.1 it is"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=_name)
def test_each_credential_gets_what_the_contract_says(site: Site, endpoint: Endpoint) -> None:
    rule = _rule(endpoint)
    assert rule is not None

    for method in [endpoint.method, *(["HEAD"] if endpoint.method == "GET" else [])]:
        wanted = {credential.name: expected(rule, credential, site.mode) for credential in CREDENTIALS}
        seen = {credential.name: _status(site.anyone, endpoint, method, credential) for credential in CREDENTIALS}
        if _name(endpoint) in SAYING_403:
            wanted = {name: "403" if status == "401" else status for name, status in wanted.items()}
        assert seen == wanted, method


@pytest.fixture(scope="module")
def callers(server: LiveServer) -> tuple[httpx.Client, ...]:
    """Nobody and the operator, at a server with the default mode."""
    return server.client(None), server.client(OPERATOR)


@pytest.mark.parametrize("endpoint", [item for item in ENDPOINTS if item.method == "GET"], ids=_name)
def test_head_is_get_without_the_body(callers: tuple[httpx.Client, ...], endpoint: Endpoint) -> None:
    for caller in callers:
        whole, head = (caller.request(method, **_target(endpoint)) for method in ("GET", "HEAD"))

        assert head.content == b""
        assert head.status_code == whole.status_code
        assert head.headers["content-type"] == whole.headers["content-type"]


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"})


@pytest.mark.parametrize("path", sorted({endpoint.path for endpoint in ENDPOINTS}))
def test_every_other_method_is_a_405_with_allow(callers: tuple[httpx.Client, ...], path: str) -> None:
    here = {endpoint.method for endpoint in ENDPOINTS if endpoint.path == path}
    here |= {"HEAD"} if "GET" in here else set()

    for caller, method in itertools.product(callers, sorted(_METHODS - here)):
        answer = caller.request(method, _concrete(path))
        assert answer.status_code == 405, method
        assert set(answer.headers["allow"].split(", ")) == here, method
        if method != "HEAD":
            refused(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("endpoint", LOCAL_ENDPOINTS, ids=_name)
def test_routes_of_the_local_socket_are_on_no_port(callers: tuple[httpx.Client, ...], endpoint: Endpoint) -> None:
    for caller in callers:
        refused(caller.request(endpoint.method, endpoint.path, json={}), 404, "not_found")
