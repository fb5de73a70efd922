"""A response policy zone (draft-vixie-dnsop-dns-rpz): the name and every name below it do not exist."""

from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import SECOND_MS
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, Refusal, lines
from threatcloud.formats.feeds.snapshot import Snapshot

#: A name of 255 bytes has room for the wildcard and the name of the zone, which whoever loads it chooses.
_LONGEST: Final = 190


def write(snapshot: Snapshot) -> bytes:
    """Names relative to the zone. Its serial is the time of the list in seconds: larger in every version."""
    serial = snapshot.generated_at // SECOND_MS & 0xFFFFFFFF
    header = snapshot.header(";")
    zone = f"$TTL 300\n@ SOA localhost. root.localhost. {serial} 3600 600 604800 300\n@ NS localhost.\n"
    names = [name for value in snapshot.values for name in (value, f"*.{value}")]
    return header + zone.encode() + lines(names, after=" CNAME .")


def _is_another_trigger(name: str) -> bool:
    """Whether a policy would take the name for that of an address or of a name server."""
    return name[name.rfind(".") + 1 :].startswith("rpz-")


FORMAT: Final = Format(
    name="rpz",
    extension="rpz",
    description="a response policy zone for BIND, Knot, PowerDNS, Unbound: the names and those below them do not exist",
    media="text/dns; charset=utf-8",
    kinds=(IndicatorType.DOMAIN,),
    write=write,
    delta=by_line(write),
    refusals=(
        Refusal(f"over {_LONGEST} characters", lambda name: len(name) > _LONGEST),
        Refusal("of a name that is a policy trigger", _is_another_trigger),
    ),
)
