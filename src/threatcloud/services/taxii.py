"""Collections of TAXII 2.1 (OASIS): the default lists and the campaigns as objects of STIX, and what is sent to us."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import uuid4

from threatcloud.domain.access import Caller
from threatcloud.domain.campaign import Campaign
from threatcloud.domain.errors import InvalidInput, NotFound, Problem
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import LISTED_KINDS
from threatcloud.formats.misp import named_uuid
from threatcloud.formats.stix import CampaignObject, IndicatorObject, campaign_object, indicator_of
from threatcloud.services.intake import Claim
from threatcloud.services.reporting import MAX_BATCH, Reporting
from threatcloud.storage import exchange
from threatcloud.storage.driver import Connection
from threatcloud.storage.exchange import Place
from threatcloud.storage.names import Names
from threatcloud.storage.store import Queries

#: The first bytes of an id in STIX that are those of the indicator: after them the version of the UUID is put in.
_SAME_BYTES: Final = 6
_MAX_STATUSES: Final = 1_000
_WALK: Final = 1_000

StixObject = IndicatorObject | CampaignObject


class Collection(NamedTuple):
    """A collection: its id and alias, in words, and what is in it; ``is_inbox``: nothing, it takes reports."""

    id: str
    alias: str
    title: str
    description: str
    kinds: tuple[IndicatorType, ...] = ()
    is_inbox: bool = False


def _collection(
    alias: str, title: str, description: str, kinds: tuple[IndicatorType, ...] = (), is_inbox: bool = False
) -> Collection:
    return Collection(named_uuid("collection", alias), alias, title, description, kinds, is_inbox)


COLLECTIONS: Final = (
    *(
        _collection(
            f"{kind}-blocklist", f"{kind} blocklist", f"Indicators of bad reputation of the type {kind}", (kind,)
        )
        for kind in LISTED_KINDS
    ),
    _collection("all", "All blocklists", "Indicators of bad reputation of every type", LISTED_KINDS),
    _collection("campaigns", "Campaigns", "Campaigns that indicators belong to"),
    _collection("reports", "Reports", "Takes indicators as reports of the key", is_inbox=True),
)


class Wanted(NamedTuple):
    """What of a collection: after a place, of these types and ids (None: any), at most so many."""

    after: Place
    limit: int
    types: frozenset[str] | None = None
    ids: tuple[str, ...] | None = None


class Item(NamedTuple):
    """An object, and when it was added as it is: the place of it in its collection."""

    place: Place
    object: StixObject


class ItemPage(NamedTuple):
    """Objects in the order in which they were added; whether there are more."""

    items: list[Item]
    has_more: bool


class Sent(NamedTuple):
    """An object that was sent: its id and version, and the report it makes, or why it makes none."""

    id: str
    version: str
    claim: Claim | list[Problem]


class Outcome(NamedTuple):
    """What became of objects that were sent: (id, version) of the good ones, (id, version, why) of the others."""

    id: str
    at: int
    successes: list[tuple[str, str]]
    failures: list[tuple[str, str, str]]


class Taxii:
    """Reads the collections; the last outcomes are kept in memory."""

    def __init__(self, store: Queries, names: Names, reporting: Reporting) -> None:
        self._store = store
        self._names = names
        self._reporting = reporting
        self._outcomes: OrderedDict[str, tuple[str, Outcome]] = OrderedDict()

    def collection(self, name: str) -> Collection:
        """The collection with this id or alias; NotFound if there is none."""
        found = next((one for one in COLLECTIONS if name in (one.id, one.alias)), None)
        if found is None:
            raise NotFound("there is no such collection")
        return found

    async def page(self, collection: Collection, wanted: Wanted) -> ItemPage:
        """The objects of a collection after a place."""
        kind = "campaign" if not collection.kinds else "indicator"
        if collection.is_inbox or (wanted.types is not None and kind not in wanted.types):
            return ItemPage([], has_more=False)

        def read(db: Connection) -> list[Item]:
            if collection.kinds:
                return self._indicators(db, collection.kinds, wanted)
            return _campaigns(db, wanted)

        found = await self._store.scan(read)
        return ItemPage(found[: wanted.limit], len(found) > wanted.limit)

    def _indicators(self, db: Connection, kinds: Sequence[IndicatorType], wanted: Wanted) -> list[Item]:
        if wanted.ids is None:
            states = exchange.listed_page(db, kinds, wanted.after, wanted.limit + 1, self._names)
            return [Item(Place(state.updated_at, state.pk), indicator_of(state)) for state in states]
        known = exchange.listed_among(db, [start for start in map(_start_of, wanted.ids) if start], self._names)
        found = [
            Item(Place(state.updated_at, state.pk), indicator_of(state))
            for state in known
            if state.indicator.type in kinds
        ]
        return [item for item in found if item.object.id in wanted.ids and item.place > wanted.after]

    async def take(self, sent: Sequence[Sent], caller: Caller, now: int) -> Outcome:
        """Stores what was sent as reports of the caller, the good ones of it."""
        outcome = Outcome(str(uuid4()), now, [], [])
        for begin in range(0, len(sent), MAX_BATCH):
            batch = sent[begin : begin + MAX_BATCH]
            bad: dict[int, str] = {}
            try:
                done = await self._reporting.submit([item.claim for item in batch], caller, partial=True)
                problems: Sequence[Problem] = done.rejected
            except InvalidInput as error:
                problems = error.problems
            for problem in problems:
                bad.setdefault(problem.position or 0, f"{problem.field} {problem.reason}")
            for index, item in enumerate(batch):
                if index in bad:
                    outcome.failures.append((item.id, item.version, bad[index]))
                else:
                    outcome.successes.append((item.id, item.version))
        self._outcomes[outcome.id] = (caller.reporter, outcome)
        while len(self._outcomes) > _MAX_STATUSES:
            self._outcomes.popitem(last=False)
        return outcome

    def outcome(self, id_: str, caller: Caller) -> Outcome:
        """What became of what a caller sent; NotFound where it was somebody else, or too long ago."""
        reporter, found = self._outcomes.get(id_, ("", None))
        if found is None or reporter != caller.reporter:
            raise NotFound("there is no such status; they are kept until the server ends, and the last 1,000")
        return found


def _start_of(id_: str) -> bytes | None:
    """The first bytes of the indicator that an id in STIX is of; None for other ids."""
    kind, _, text = id_.partition("--")
    try:
        return bytes.fromhex(text.replace("-", ""))[:_SAME_BYTES] if kind == "indicator" and len(text) == 36 else None
    except ValueError:
        return None


def _campaigns(db: Connection, wanted: Wanted) -> list[Item]:
    if wanted.ids is None:
        return [_campaign_item(found) for found in exchange.campaign_page(db, wanted.after, wanted.limit + 1)]
    return [item for item in _all_campaigns(db, wanted.after) if item.object.id in wanted.ids]


def _all_campaigns(db: Connection, after: Place) -> list[Item]:
    found: list[Item] = []
    while page := exchange.campaign_page(db, found[-1].place if found else after, _WALK):
        found += map(_campaign_item, page)
    return found


def _campaign_item(campaign: Campaign) -> Item:
    return Item(Place(campaign.updated_at, campaign.pk), campaign_object(campaign))
