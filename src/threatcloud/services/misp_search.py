"""Published indicators as scripts for MISP search them: by value, by type, by the time of the last change."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.indicator import IndicatorType, InvalidIndicator, detect, indicator_key
from threatcloud.domain.state import IndicatorState
from threatcloud.formats.feeds import LISTED_KINDS
from threatcloud.storage import exchange
from threatcloud.storage.exchange import Kind
from threatcloud.storage.names import Names
from threatcloud.storage.store import Queries

_ALL: Final = tuple(Kind(kind) for kind in LISTED_KINDS)
#: What a type of MISP is here.
KINDS: Final = {
    **dict.fromkeys(("ip-dst", "ip-src"), Kind(IndicatorType.IP)),
    **dict.fromkeys(("domain", "hostname"), Kind(IndicatorType.DOMAIN)),
    **dict.fromkeys(("url", "uri"), Kind(IndicatorType.URL)),
    **{name.replace("-", "").lower(): Kind(IndicatorType.HASH, length) for length, name in HASH_NAMES.items()},
}


class Search(NamedTuple):
    """What is looked for: any of these values and types (None: all), changed since then; a page from an offset on."""

    values: tuple[str, ...] | None
    types: tuple[str, ...] | None
    since: int
    offset: int
    limit: int


class MispSearch:
    """Reads the default lists."""

    def __init__(self, store: Queries, names: Names) -> None:
        self._store = store
        self._names = names

    async def find(self, search: Search) -> list[IndicatorState]:
        """A page of what is looked for, the oldest change first; types and values that are none here find nothing."""
        kinds = _ALL if search.types is None else tuple(dict.fromkeys(KINDS[t] for t in search.types if t in KINDS))
        if search.values is None:
            page = search.since, search.offset, search.limit
            return await self._store.scan(lambda db: exchange.listed_since(db, kinds, *page, self._names))
        keys = _keys(search.values)
        found = await self._store.read(lambda db: exchange.listed_with(db, keys, self._names))
        kept = [state for state in found if state.updated_at >= search.since and _is_of(state, kinds)]
        return kept[search.offset : search.offset + search.limit]


def _keys(values: Sequence[str]) -> list[bytes]:
    keys = []
    for value in values:
        try:
            keys.append(indicator_key(*detect(value)))
        except InvalidIndicator:
            continue
    return keys


def _is_of(state: IndicatorState, kinds: Sequence[Kind]) -> bool:
    kind, value = state.indicator
    return any(kind is own and length in (None, len(value)) for own, length in kinds)
