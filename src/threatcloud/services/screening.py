"""What the server itself adds to a value before it is stored: the guard's finding, country and AS, off the database."""

from collections.abc import Callable
from typing import NamedTuple

from threatcloud.domain.allowlist import Allowlist
from threatcloud.domain.hosts import url_host
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.publication import Guard, Screening, Withheld
from threatcloud.domain.state import LASTING_CODES
from threatcloud.enrich.attack import AttackCatalog
from threatcloud.enrich.geo import Locator


class Screened(NamedTuple):
    """Why it may not be published (None: it may), the rented cloud range it lies in, and where it is."""

    withheld: Withheld | None
    cloud: str | None
    country: str | None
    asn: int | None


class Screener:
    """Judges and locates indicators; replaced as a whole when lists or databases change."""

    def __init__(
        self, guard: Guard, locator: Locator, attack: AttackCatalog, missing_lists: tuple[str, ...] = ()
    ) -> None:
        self.guard = guard
        self.locator = locator
        self.attack = attack
        #: Benign lists that the guard has to do without.
        self.missing_lists = missing_lists

    def screen(self, indicator: Indicator, anonymised: bool) -> Screened:
        """The finding for one indicator."""
        found = self.guard.screen(indicator, anonymised)
        address = _address_of(indicator)
        if address is None:
            return Screened(found.withheld, found.needs_corroboration, None, None)
        return Screened(
            found.withheld,
            found.needs_corroboration,
            self.locator.country(address),
            self.locator.asn(address),
        )


def _address_of(indicator: Indicator) -> str | None:
    """Where it is on the network: the address itself, the first of a network, the host of a URL if that is one."""
    if indicator.type is IndicatorType.IP:
        return indicator.value.partition("/")[0]
    if indicator.type is IndicatorType.URL:
        host = url_host(indicator.value)
        return host.text if host.network else None
    return None


def allowed(allowlist: Allowlist, indicator: Indicator, screened: Screened) -> Screened:
    """The finding that holds under the operator's allowlist.

    Whoever prepares a report or an import does so without it, maybe in another process and long before: it is applied
    where the state is concluded, by the one writer, to what it is in that very unit. So nothing slips past an entry
    that is stored in the meantime, and nothing is held back by one that has gone.
    """
    if not allowlist or (screened.withheld and screened.withheld.code in LASTING_CODES):
        return screened
    if not allowlist.covers(indicator):
        return screened
    return screened._replace(withheld=Withheld("allowlist", allowlist.name, "An operator allowed it."), cloud=None)


def may_list(screener: Screener, allowlist: Allowlist) -> Callable[[str], bool]:
    """Whether a canonical network may be on a list, as neither the guard nor the operator has anything in it."""

    def may(value: str) -> bool:
        indicator = Indicator(IndicatorType.IP, value)
        found = screener.guard.screen(indicator)
        return found == Screening(None, None) and not allowlist.covers(indicator)

    return may
