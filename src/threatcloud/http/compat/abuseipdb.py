"""``/api/v2``: AbuseIPDB APIv2 (docs.abuseipdb.com), so that what reports there or asks there does so here.

``formats.compat.abuseipdb`` says what its words and scores mean; here is what is HTTP.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from threatcloud.domain.address import parse_network
from threatcloud.domain.countries import country_name
from threatcloud.domain.errors import invalid
from threatcloud.domain.feed import FeedList
from threatcloud.domain.indicator import IndicatorType, InvalidIndicator, canonical
from threatcloud.domain.special_addresses import special_range
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.domain.times import DAY_MS
from threatcloud.formats.compat import abuseipdb as shapes
from threatcloud.formats.feeds import find_format
from threatcloud.http.answer import JSON, TEXT, Answer
from threatcloud.http.compat.abuseipdb_wire import (
    DIALECT,
    BlacklistQuery,
    BlockAddress,
    BlockData,
    BlockQuery,
    BlockShape,
    CheckData,
    CheckQuery,
    CheckShape,
    ReportShape,
    address_of,
    answer,
    score,
)
from threatcloud.http.compression import IDENTITY
from threatcloud.http.endpoint import Access, Call, Endpoint, RateClass
from threatcloud.services.lookup import Reported
from threatcloud.services.rendering import Shape
from threatcloud.storage.facts import StoredSighting
from threatcloud.storage.search import Filters, Sort

_MAX_REPORTS: Final = 100
_MAX_REPORTED: Final = 1_000
_WIDEST: Final = {4: 16, 6: 32}
_NDJSON: Final = find_format("ndjson")


async def check_address(call: Call) -> Answer:
    """What is known of an address."""
    query: CheckQuery = call.query
    address = address_of(query.ip_address, "ipAddress")
    is_verbose = query.verbose is not None
    told = _MAX_REPORTS if is_verbose and call.caller.mask else 0  # what people wrote is for those with a key
    since = call.services.clock() - query.max_age_in_days * DAY_MS
    found = await call.services.lookup.reported(address, since, told)
    data = _checked(call, address, found)
    if is_verbose:
        data.country_name = _country_name(data.country_code)
        data.reports = [_report(item) for item in found.latest]
    return answer(CheckShape(data))


def _checked(call: Call, address: str, found: Reported) -> CheckData:
    place = call.services.screener.locator.locate(address)
    state = found.state
    return CheckData(
        ip_address=address,
        is_public=special_range(parse_network(canonical(IndicatorType.IP, address).value)) is None,
        ip_version=ip_address(address).version,
        is_whitelisted=state is not None and state.status is Status.WHITELISTED,
        abuse_confidence_score=max(score(state), *(score(around) for around in found.networks if around.listed), 0),
        country_code=place.country,
        usage_type=None,
        isp=place.as_name,
        domain=None,
        hostnames=[],
        is_tor=False,
        total_reports=found.voices.reports,
        num_distinct_users=found.voices.reporters,
        last_reported_at=shapes.time_text(state.last_seen) if state else None,
    )


def _report(item: StoredSighting) -> ReportShape:
    context = dict(item.context)
    comment = context.get("comment")
    return ReportShape(
        shapes.time_text(item.observed_at),
        comment if isinstance(comment, str) else "",
        shapes.numbers_of(context, item.category),
        item.reporter,
        None,
        None,
    )


def _country_name(code: str | None) -> str | None:
    return country_name(code) if code else None


async def blacklist(call: Call) -> Answer:
    """The addresses to block, highest scores first."""
    query: BlacklistQuery = call.query
    if query.only_countries and query.except_countries:
        raise invalid("exceptCountries", "does not go with onlyCountries")
    wanted = shapes.Selection(
        query.limit,
        _codes(query.only_countries),
        _codes(query.except_countries),
        int(query.ip_version) if query.ip_version else None,
    )
    is_text = query.plaintext is not None or "text/plain" in (call.header(b"accept") or "")
    services = call.services
    hosts = FeedList(IndicatorType.IP, shapes.reputation_for(query.confidence_minimum), hosts_only=True)
    list_shape = Shape(_NDJSON, query.limit if wanted.is_plain else None)
    at = (await services.renderer.get(hosts, list_shape)).generated_at

    def make(ndjson: bytes) -> bytes:
        found = shapes.selected(ndjson, services.screener.locator.countries, wanted)
        return shapes.as_text(found) if is_text else shapes.as_json(found, at)

    published = await services.renderer.derived(hosts, list_shape, ("abuseipdb", wanted, is_text), make)
    body = await services.publisher.body(published, IDENTITY)
    headers = {"X-Generated-At": shapes.time_text(published.generated_at)}
    return Answer(body, media=TEXT if is_text else JSON, headers=headers)


def _codes(text: str | None) -> frozenset[str]:
    return frozenset((text or "").upper().split(",")) - {""}


async def check_block(call: Call) -> Answer:
    """What was reported in a network."""
    query: BlockQuery = call.query
    network = _network(query.network)
    value = canonical(IndicatorType.IP, str(network)).value
    filters = Filters(type=IndicatorType.IP, network=parse_network(value))
    page = await call.services.lookup.search(filters, Sort.REPUTATION, 1, _MAX_REPORTED, None)
    since = call.services.clock() - query.max_age_in_days * DAY_MS
    hosts = network.num_addresses if network.num_addresses <= 2 else network.num_addresses - 2
    edge = 0 if network.num_addresses <= 2 else 1
    return answer(
        BlockShape(
            BlockData(
                str(network.network_address),
                str(network.netmask),
                str(network[edge]),
                str(network[-1 - edge]),
                hosts,
                (special_range(parse_network(value)) or "Internet").partition(" (RFC")[0],
                _reported_in(page.items, since),
            )
        )
    )


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text.strip(), strict=False)
        canonical(IndicatorType.IP, str(network))
    except (ValueError, InvalidIndicator):
        raise invalid("network", "must be a CIDR network such as 192.0.2.0/24") from None
    if network.prefixlen < _WIDEST[network.version]:
        raise invalid("network", f"must not be wider than /{_WIDEST[network.version]}")
    return network


def _reported_in(states: Sequence[IndicatorState], since: int) -> list[BlockAddress]:
    hosts: Iterable[IndicatorState] = (state for state in states if "/" not in state.indicator.value)
    return [
        BlockAddress(
            state.indicator.value,
            state.sightings,
            shapes.time_text(state.last_seen),
            score(state),
            state.country,
        )
        for state in hosts
        if state.last_seen >= since
    ]


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/v2/check",
        summary="AbuseIPDB: what is known of an address",
        description="`abuseConfidenceScore` is 2 * (80 - reputation): 100 is what the default blocklist holds.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=check_address,
        from_database=True,
        query=CheckQuery,
        answer=CheckShape,
        tag="AbuseIPDB",
        dialect=DIALECT,
    ),
    Endpoint(
        method="GET",
        path="/api/v2/check-block",
        summary="AbuseIPDB: what was reported in a network",
        description=f"The worst {_MAX_REPORTED} addresses.",
        access=Access.READ,
        rate=RateClass.READ,
        handler=check_block,
        from_database=True,
        query=BlockQuery,
        answer=BlockShape,
        tag="AbuseIPDB",
        dialect=DIALECT,
    ),
    Endpoint(
        method="GET",
        path="/api/v2/blacklist",
        summary="AbuseIPDB: addresses to block",
        description="As text where `plaintext` or `Accept: text/plain` asks for it. Networks are not in it.",
        access=Access.FEEDS,
        rate=RateClass.FEED,
        handler=blacklist,
        query=BlacklistQuery,
        answer=shapes.Blacklist,
        other_media=(TEXT,),
        errors=("busy",),
        tag="AbuseIPDB",
        dialect=DIALECT,
    ),
)
