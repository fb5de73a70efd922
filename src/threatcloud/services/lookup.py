"""Looking up and searching: what is known of a value, why its reputation is what it is, and pages of indicators."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from threatcloud.domain.cursor import make_cursor, read_cursor
from threatcloud.domain.errors import NotFound
from threatcloud.domain.evidence import voices_of
from threatcloud.domain.indicator import (
    Indicator,
    IndicatorType,
    InvalidIndicator,
    detect,
    digest,
    indicator_key,
    parse_public_id,
)
from threatcloud.domain.reputation import PRIOR_LOG_ODDS, Term, reputation_of, terms
from threatcloud.domain.state import IndicatorState, as_of
from threatcloud.services.answers import Answers
from threatcloud.storage import campaigns, facts, indicators
from threatcloud.storage.driver import Connection
from threatcloud.storage.names import Names
from threatcloud.storage.search import Filters, Place, Sort, count, is_short_walk, place_of, search
from threatcloud.storage.store import Clock, Queries

RANGE_PREFIX_DIGITS: Final = 4
RANGE_CLASS_LINES: Final = 32


class Detail(NamedTuple):
    """Everything about an indicator: its state, related ones (value, type, relation), networks around it, campaigns."""

    state: IndicatorState
    related: list[tuple[str, str, str]]
    networks: list[IndicatorState]
    campaigns: list[str]


class Unknown(NamedTuple):
    """An indicator nobody reported, with the stored networks around it."""

    indicator: Indicator
    networks: list[IndicatorState]


#: What a value is, or why it is none, and what is known of it: None of what nobody reported.
Found = tuple[Indicator | InvalidIndicator, indicators.Brief | None]


class Reported(NamedTuple):
    """What was said of an address since a time. ``state`` is None when nobody ever reported it.

    ``latest`` are the newest reports; ``networks`` those stored that contain it.
    """

    state: IndicatorState | None
    networks: list[IndicatorState]
    voices: facts.Voices
    latest: list[facts.StoredSighting]


class Share(NamedTuple):
    """One term of a reputation: who, how much in log-odds, and the change in points if it were left out."""

    term: Term
    reporter: str | None
    sources: tuple[str, ...]
    points: int


class Explanation(NamedTuple):
    """A reputation taken apart: prior plus shares make ``log_odds``, from which the reputation follows."""

    state: IndicatorState
    prior: float
    shares: list[Share]
    log_odds: float
    reputation: int


class Page(NamedTuple):
    """One page of a collection, how many there are in all, and the cursor of the next (None at the end)."""

    items: list[Any]
    total: int
    next_cursor: str | None


def _verdicts(db: Connection, values: Sequence[str]) -> list[Found]:
    found: list[Indicator | InvalidIndicator] = []
    keys: list[bytes] = []
    for value in values:
        try:
            indicator = detect(value)
        except InvalidIndicator as error:
            found.append(error)
            keys.append(b"")
        else:
            found.append(indicator)
            keys.append(indicator_key(*indicator))
    # In the order of the index, so that its pages are read one after another.
    briefs = indicators.briefs(db, sorted({*keys} - {b""}))
    return list(zip(found, map(briefs.get, keys), strict=True))


class Lookup:
    """Reads indicators."""

    def __init__(self, store: Queries, names: Names, clock: Clock) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self._answers = Answers(store)

    async def detail(self, value: str) -> Detail | Unknown:
        """What is known of a value in any spelling; InvalidIndicator when it is no indicator at all."""
        key = parse_public_id(value)
        indicator = None if key else detect(value)
        wanted = key or indicator_key(*indicator)  # type: ignore[misc]

        def read(db: Connection) -> Detail | Unknown:
            found = indicators.find_connected(db, wanted, self._names)
            if found is not None:
                state, has_relations, has_campaigns = found
                if state.expires_at is not None:
                    state = as_of(state, self._clock())
                related = indicators.related(db, wanted) if has_relations else []
                within = campaigns.shown_of(db, [state.pk]) if has_campaigns else []
                return Detail(state, related, self._networks(db, state.indicator), within)
            if indicator is None:
                raise NotFound(f"there is no indicator {value}")
            return Unknown(indicator, self._networks(db, indicator))

        return await self._store.read(read)

    async def reported(self, value: str, since: int, most: int) -> Reported:
        """What was said of an address since a time, with the newest reports, at most so many."""
        indicator = detect(value)
        key = indicator_key(*indicator)

        def read(db: Connection) -> Reported:
            networks = self._networks(db, indicator)
            state = indicators.find(db, key, self._names)
            if state is None:
                return Reported(None, networks, facts.Voices(0, 0), [])
            latest = facts.latest_sightings_of(db, state.pk, since, most, self._names) if most else []
            return Reported(as_of(state, self._clock()), networks, facts.voices_since(db, state.pk, since), latest)

        return await self._store.read(read)

    def _networks(self, db: Connection, indicator: Indicator) -> list[IndicatorState]:
        around = self._names.networks.around(indicator.value) if indicator.type is IndicatorType.IP else []
        return indicators.containing(db, around, self._names) if around else []

    async def explain(self, value: str) -> Explanation:
        """Every term of a reputation as of now; NotFound for an unknown indicator."""
        indicator = detect(value)
        key = indicator_key(*indicator)

        def read(db: Connection) -> Explanation:
            state = indicators.find(db, key, self._names)
            if state is None:
                raise NotFound(f"{indicator.value} is not a known indicator")
            evidence = facts.evidence_of(db, [state.pk], self._names).get(state.pk, [])
            found = terms(indicator.type, voices_of(indicator.type, evidence), state.benign, self._clock())
            log_odds = PRIOR_LOG_ODDS + sum(term.log_odds for term in found)
            reputation = reputation_of(log_odds)
            shares = []
            for term in found:
                sources = tuple(sorted({item.source for item in evidence if item.reporter == term.reporter}))
                name = self._names.reporter(term.reporter).name if term.reporter is not None else None
                shares.append(Share(term, name, sources, reputation_of(log_odds - term.log_odds) - reputation))
            return Explanation(state, PRIOR_LOG_ODDS, shares, log_odds, reputation)

        return await self._store.read(read)

    async def verdicts(self, values: Sequence[str]) -> list[Found]:
        """What is found of each value, in order."""
        return await self._store.scan(lambda db: _verdicts(db, values))

    async def range(self, prefix: str) -> list[tuple[str, int]]:
        """(rest of the SHA-256 in hex, reputation) of every indicator whose digest begins with four hex digits."""
        first = bytes.fromhex(prefix) + bytes(14)
        last = bytes.fromhex(prefix) + b"\xff" * 14

        def read(db: Connection) -> list[tuple[str, int]]:
            rows = db.rows("SELECT type, value, reputation FROM indicator WHERE id >= ? AND id <= ?", (first, last))
            return [
                (digest(IndicatorType.from_code(code), value).hex()[RANGE_PREFIX_DIGITS:], reputation)
                for code, value, reputation in rows
            ]

        return await self._store.read(read)

    async def search(self, filters: Filters, sort: Sort, page: int, limit: int, cursor: str | None) -> Page:
        """One page of a search; with a cursor ``page`` does not count."""
        after = read_cursor(cursor, 2) if cursor else None
        place = Place((after[0], after[1]) if after else None, 0 if after else (page - 1) * limit, limit)

        def read(db: Connection) -> list[IndicatorState]:
            return search(db, filters, sort, place, self._names, total)

        total = await self._total(filters)
        if is_short_walk(filters, sort, place, total):
            states = await self._store.read(read)
        else:
            states = await self._store.scan(read)
        more = len(states) == limit
        return Page(states, total, make_cursor(*place_of(states[-1], sort)) if more else None)

    async def _total(self, filters: Filters) -> int:
        if filters.is_counted:
            return await self._store.read(lambda db: count(db, filters))
        return await self._answers.of(filters, lambda db: count(db, filters))

    async def sightings(self, value: str, page: int, limit: int, cursor: str | None) -> Page:
        """One page of an indicator's sightings, newest first; NotFound for an unknown indicator."""
        indicator = detect(value)
        key = indicator_key(*indicator)
        place = read_cursor(cursor, 2) if cursor else None

        def read(db: Connection) -> Page:
            state = indicators.find(db, key, self._names)
            if state is None:
                raise NotFound(f"{indicator.value} is not a known indicator")
            before = (place[0], place[1]) if place else None
            offset = 0 if place else (page - 1) * limit
            found = facts.list_sightings(db, state.pk, self._names, before, offset, limit)
            more = make_cursor(found[-1].observed_at, found[-1].pk) if len(found) == limit else None
            return Page(found, facts.count_sightings(db, state.pk), more)

        return await self._store.scan(read)
