"""Where an address is: its country, from the table compiled into iptocc or the operator's MMDB, and its AS.

The table is of the registries: the country a network is assigned to, which need not be the one it is used in.
An MMDB may be of MaxMind, DB-IP, IPinfo or ip-location-db; it outranks the table where it knows the address.
A network is located by its first address. Nothing is ever fetched.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from threatcloud.domain.errors import DomainError

if TYPE_CHECKING:
    import maxminddb

_COUNTRY = re.compile(r"[A-Z]{2}")
# Two letters and no country: Europe and Asia/Pacific as regions, and what databases say for "unknown".
_NO_COUNTRIES = frozenset({"EU", "AP", "XX", "ZZ"})
_AS_NUMBER = re.compile(r"(?:AS)?([0-9]{1,10})")
# A database of the right kind answers for one of its first networks.
_PROBED_NETWORKS = 10_000


class GeoDatabaseError(DomainError):
    """A configured database cannot be used; the message names it and what to do."""

    code = "bad_geo_database"


class Location(NamedTuple):
    """ISO 3166 alpha-2 code, number of the autonomous system and its name; None where unknown."""

    country: str | None
    asn: int | None
    as_name: str | None


_Table = Callable[[list[str]], list[str | None]]


class Locator:
    """Locates addresses and networks in canonical text; what is neither, or unknown, has no location.

    `problem` tells why there is no table of countries; None when there is one.
    """

    def __init__(
        self,
        table: _Table | None,
        geo: "maxminddb.Reader | None" = None,
        asn: "maxminddb.Reader | None" = None,
        problem: str | None = None,
    ) -> None:
        self.problem = problem
        self._table = table
        self._geo = geo
        self._asn = asn

    def country(self, ip_text: str) -> str | None:
        """The country of one address or network; of many, `countries` is several times as fast."""
        return self._tabulated([ip_text.partition("/")[0]])[0] if self._geo is None else self.countries([ip_text])[0]

    def countries(self, ip_texts: Iterable[str]) -> list[str | None]:
        """The countries of these, in order."""
        addresses = [text.partition("/")[0] for text in ip_texts]
        if self._geo is None:
            return self._tabulated(addresses)
        found = [_country_of(_record(self._geo, address)) for address in addresses]
        unknown = [at for at, country in enumerate(found) if country is None]
        for at, country in zip(unknown, self._tabulated([addresses[at] for at in unknown]), strict=True):
            found[at] = country
        return found

    def asn(self, ip_text: str) -> int | None:
        """The number of the autonomous system, 1 to 4,294,967,295; None without a database of them."""
        return self._system(ip_text)[0]

    def locate(self, ip_text: str) -> Location:
        """Everything known about the place of one address or network."""
        return Location(self.country(ip_text), *self._system(ip_text))

    def _tabulated(self, addresses: list[str]) -> list[str | None]:
        if self._table is None:
            return [None] * len(addresses)
        return [None if country in _NO_COUNTRIES else country for country in self._table(addresses)]

    def _system(self, ip_text: str) -> tuple[int | None, str | None]:
        return _system_of(_record(self._asn, ip_text.partition("/")[0])) if self._asn else (None, None)


def load_locator(geo_db: Path | None = None, asn_db: Path | None = None) -> Locator:
    """The locator over the operator's databases, where given, and the built-in table.

    Raises `GeoDatabaseError` when a given one is missing or damaged, holds something else, or cannot be read
    for want of the package maxminddb.
    """
    geo = _open(geo_db, "countries", lambda record: _country_of(record) is not None) if geo_db else None
    asn = _open(asn_db, "autonomous systems", lambda record: _system_of(record)[0] is not None) if asn_db else None
    try:
        from iptocc import country_code
    except ImportError as error:
        return Locator(None, geo, asn, f"the built-in table of countries cannot be loaded: {error}")
    return Locator(country_code, geo, asn)


def _open(path: Path, content: str, fits: Callable[[object], bool]) -> "maxminddb.Reader":
    try:
        import maxminddb
    except ImportError as error:
        raise GeoDatabaseError(
            f"{path} cannot be read without the package maxminddb: install threat-cloud[geo]"
        ) from error
    try:
        reader = maxminddb.open_database(path)
        records = (record for _, record in itertools.islice(reader, _PROBED_NETWORKS))
        if any(map(fits, records)):
            return reader
    except OSError as error:
        raise GeoDatabaseError(f"cannot open {path}: {error.strerror}") from error
    except maxminddb.InvalidDatabaseError as error:
        raise GeoDatabaseError(f"{path} is damaged or no MMDB file: fetch it again") from error
    raise GeoDatabaseError(f"{path} holds no {content}: is it another database of the same publisher?")


def _record(reader: "maxminddb.Reader", address: str) -> object:
    try:
        return reader.get(address)
    except (ValueError, RuntimeError):
        # No address, or of a family that the database does not have; or a damaged record, which costs a location
        # and not a report (InvalidDatabaseError is a RuntimeError).
        return None


def _country_of(record: object) -> str | None:
    """From `{"country": {"iso_code": "DE"}}`, or `country` or `country_code` as text; else where it is registered."""
    if not isinstance(record, Mapping):
        return None
    for name in ("country", "country_code", "registered_country"):
        value = record.get(name)
        code = value.get("iso_code") if isinstance(value, Mapping) else value
        if isinstance(code, str) and _COUNTRY.fullmatch(code) and code not in _NO_COUNTRIES:
            return code
    return None


def _system_of(record: object) -> tuple[int | None, str | None]:
    """From `autonomous_system_number` and `autonomous_system_organization`, or `asn` (`AS64496`) and `as_name`."""
    if not isinstance(record, Mapping):
        return None, None
    found = _AS_NUMBER.fullmatch(str(record.get("autonomous_system_number") or record.get("asn") or ""))
    number = int(found[1]) if found else 0
    if not 0 < number < 2**32:
        return None, None
    name = record.get("autonomous_system_organization") or record.get("as_name")
    return number, name if isinstance(name, str) else None
