"""The routes, one file per resource, and how a path finds its endpoint."""

from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from threatcloud.domain.errors import invalid
from threatcloud.http import (
    agents,
    allowlist,
    analytics,
    audit,
    blocklists,
    campaigns,
    charts,
    exchange_files,
    feeds,
    imports,
    iocs,
    keys,
    misp,
    rules,
    sightings,
    sources,
    stream,
    system,
    taxii,
    threats,
    trap_intel,
    webhooks,
)
from threatcloud.http.answer import JSON
from threatcloud.http.compat import abuseipdb, abuseipdb_reports, crowdsec
from threatcloud.http.endpoint import BodyReader, Endpoint, QueryReader
from threatcloud.http.forms import FormReader

ENDPOINTS: Final = (
    *threats.ENDPOINTS,
    *trap_intel.ENDPOINTS,
    *iocs.ENDPOINTS,
    *sightings.ENDPOINTS,
    *imports.ENDPOINTS,
    *feeds.ENDPOINTS,
    *blocklists.ENDPOINTS,
    *exchange_files.ENDPOINTS,
    *analytics.ENDPOINTS,
    *charts.ENDPOINTS,
    *audit.ENDPOINTS,
    *agents.ENDPOINTS,
    *stream.ENDPOINTS,
    *rules.ENDPOINTS,
    *campaigns.ENDPOINTS,
    *keys.ENDPOINTS,
    *allowlist.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *sources.ENDPOINTS,
    *system.ENDPOINTS,
    *abuseipdb.ENDPOINTS,
    *abuseipdb_reports.ENDPOINTS,
    *crowdsec.ENDPOINTS,
    *taxii.ENDPOINTS,
    *misp.ENDPOINTS,
)


class Route(NamedTuple):
    """An endpoint with what decodes for it."""

    endpoint: Endpoint
    query: QueryReader
    body: BodyReader | FormReader | None


class Found(NamedTuple):
    """What a path leads to: a route for each method, and the values of its variable segments."""

    routes: dict[str, Route]
    params: dict[str, str]


class _Node:
    """A place in the tree of segments; a literal segment goes before a variable one."""

    __slots__ = ("literals", "name", "routes", "variable")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.variable: _Node | None = None
        self.name = ""
        self.routes: dict[str, Route] = {}


class RouteTable:
    """Finds routes before anything is percent-decoded: by the whole path, by a literal stem, or by segment."""

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._exact: dict[bytes, Found] = {}
        #: The nodes whose next segment is the variable last one of a path that is literal up to there.
        self._stems: dict[bytes, _Node] = {}
        self._root = _Node()
        for endpoint in endpoints:
            node = self._node(endpoint.segments)
            route = Route(endpoint, QueryReader(endpoint.query), _body_reader(endpoint))
            node.routes[endpoint.method] = route
            if "{" not in endpoint.path:
                self._exact[endpoint.path.encode()] = Found(node.routes, {})
            stem, _, last = endpoint.path.rpartition("/")
            if last.startswith("{") and "{" not in stem:
                self._stems[stem.encode()] = self._node(endpoint.segments[:-1])

    def _node(self, segments: tuple[str, ...]) -> _Node:
        node = self._root
        for segment in segments:
            node = _step(node, segment)
        return node

    def find(self, raw_path: bytes) -> Found | None:
        """Where an undecoded path leads, or None; InvalidInput when a segment does not decode."""
        found = self._exact.get(raw_path)
        if found is not None:
            return found
        stem, _, last = raw_path.rpartition(b"/")
        known = self._stems.get(stem)
        if known is not None and last and last not in known.literals:
            variable = known.variable
            assert variable is not None
            return Found(variable.routes, {variable.name: _decode(variable.name, last)})
        return _walk(self._root, raw_path.split(b"/")[1:])


def _body_reader(endpoint: Endpoint) -> BodyReader | FormReader | None:
    if endpoint.body is None:
        return None
    if endpoint.takes != (JSON,):
        return FormReader(endpoint.body)
    return BodyReader(endpoint.body, endpoint.own_key, endpoint.others)


def _step(node: _Node, segment: str) -> _Node:
    if segment.startswith("{"):
        node.variable = node.variable or _Node()
        node.variable.name = segment.strip("{}")
        return node.variable
    return node.literals.setdefault(segment.encode(), _Node())


def _walk(node: _Node, segments: list[bytes]) -> Found | None:
    """Where the segments lead from a node: by the literal one, or where that leads nowhere, by the variable."""
    if not segments:
        return Found(node.routes, {}) if node.routes else None
    first, rest = segments[0], segments[1:]
    literal = node.literals.get(first)
    found = _walk(literal, rest) if literal is not None else None
    if found is not None or node.variable is None or not first:
        return found
    found = _walk(node.variable, rest)
    if found is not None:
        found.params[node.variable.name] = _decode(node.variable.name, first)
    return found


def _decode(name: str, segment: bytes) -> str:
    try:
        return (unquote_to_bytes(segment) if b"%" in segment else segment).decode("utf-8")
    except UnicodeDecodeError:
        raise invalid(name, "is not UTF-8 when percent-decoded") from None
