"""What correlation reads and writes: what is new since it last looked, features, and who is in which campaign."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from threatcloud.domain.features import Saying, most_members, relation_feature
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.state import BENIGN_CODES, IndicatorState
from threatcloud.storage import campaigns, meta
from threatcloud.storage.driver import Connection, Row, Transaction

_TYPES: Final = {kind.code: kind for kind in IndicatorType}
_PLACE: Final = "correlation"
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Place(NamedTuple):
    """How far correlation has read: the update time and row number of indicators, and the row of sightings."""

    updated_at: int = 0
    indicator: int = 0
    sighting: int = 0


class Subject(NamedTuple):
    """An indicator as correlation sees it."""

    pk: int
    id: bytes
    indicator: Indicator
    updated_at: int
    benign: bool


class Told(NamedTuple):
    """What a sighting says of an indicator."""

    pk: int
    indicator: int
    said: Saying


def place(db: Connection) -> Place:
    """Where to go on."""
    known = meta.find(db, _PLACE)
    return Place(*map(int, known.split())) if known else Place()


def keep_place(tx: Transaction, where: Place) -> None:
    """Notes how far it got."""
    meta.put(tx, _PLACE, " ".join(map(str, where)))


_SUBJECT: Final = "pk, id, type, value, updated_at, withheld_code"


# An import stores tens of thousands at one time: those before the place are skipped by the index, not looked through.
_CHANGED: Final = (
    "SELECT * FROM (SELECT updated_at, pk FROM indicator WHERE type = ?1 AND updated_at = ?2 AND pk > ?3 "
    "ORDER BY pk LIMIT ?4) AS same UNION ALL SELECT * FROM (SELECT updated_at, pk FROM indicator "
    "WHERE type = ?1 AND updated_at > ?2 ORDER BY updated_at, pk LIMIT ?4) AS later"
)


def changed(db: Connection, after: Place, most: int) -> list[Subject]:
    """Indicators stored or updated after a place, oldest update first."""
    found: list[Row] = []
    for code in _TYPES:  # each by its index, which has what orders them; the rest is read of those that count
        found += db.rows(_CHANGED, (code, after.updated_at, after.indicator, most))
    order = [pk for _, pk in sorted(found)[:most]]
    known = subjects(db, order)
    return [known[pk] for pk in order]


# Events of a log were stored together, and did not happen together.
_TOLD: Final = (
    "pk, indicator, reporter, received_at, observed_at, category, context, reporter IN (SELECT pk FROM reporter "
    "WHERE name LIKE 'trap:%' OR name LIKE 'replay:%' OR name LIKE 'feed:%')"
)


def told(db: Connection, after: int, most: int) -> list[Told]:
    """Sightings that say that something was seen, stored after a row, oldest first."""
    rows = db.rows(
        f"SELECT {_TOLD} FROM sighting WHERE pk > ? AND kind = 'positive' ORDER BY pk LIMIT ?",
        (after, most),
    )
    return [_told(row) for row in rows]


def latest(db: Connection, indicator: int, most: int = 3) -> list[Told]:
    """The last few sightings of one indicator, newest first."""
    rows = db.rows(
        f"SELECT {_TOLD} FROM sighting "
        "WHERE indicator = ? AND kind = 'positive' ORDER BY observed_at DESC, pk DESC LIMIT ?",
        (indicator, most),
    )
    return [_told(row) for row in rows]


def _told(row: Row) -> Told:
    return Told(row[0], row[1], Saying._make((*row[2:6], _decode(row[6]) if row[6] else {}, row[7] == 1)))


def due(db: Connection, most: int) -> list[int]:
    """Indicators that operators moved."""
    return [row[0] for row in db.rows("SELECT indicator FROM correlation_due LIMIT ?", (most,))]


def done(tx: Transaction, indicators: Iterable[int]) -> None:
    """They have been looked at."""
    tx.db.run_many("DELETE FROM correlation_due WHERE indicator = ?", [(pk,) for pk in indicators])


def subjects(db: Connection, pks: Sequence[int]) -> dict[int, Subject]:
    """Stored indicators by row number."""
    rows = db.rows_in(f"SELECT {_SUBJECT} FROM indicator WHERE pk IN keys()", pks)
    return {row[0]: _subject(row) for row in rows}


def neighbours(db: Connection, ids: Sequence[bytes], most: int) -> dict[bytes, list[Subject]]:
    """Stored indicators related to each of these, either way round, at most so many; those without are left out."""
    related = db.rows_in(
        "SELECT key FROM keys() AS found WHERE EXISTS (SELECT 1 FROM relation WHERE subject = key) "
        "OR EXISTS (SELECT 1 FROM relation WHERE object = key)",
        ids,
    )
    found: dict[bytes, list[Subject]] = {}
    for (key,) in related:
        rows = db.rows(
            f"SELECT {_SUBJECT} FROM indicator WHERE id IN (SELECT object FROM relation WHERE subject = ? "
            "UNION SELECT subject FROM relation WHERE object = ?) LIMIT ?",
            (key, key, most),
        )
        if rows:
            found[key] = [_subject(row) for row in rows]
    return found


def _subject(row: Row) -> Subject:
    return Subject(row[0], row[1], Indicator(_TYPES[row[2]], row[3]), row[4], row[5] in BENIGN_CODES)


def features_of(db: Connection, pks: Sequence[int]) -> dict[int, set[int]]:
    """The feature keys of indicators; those without any are left out."""
    found: dict[int, set[int]] = defaultdict(set)
    for pk, key in db.rows_in("SELECT indicator, key FROM feature WHERE indicator IN keys()", pks):
        found[pk].add(key)
    return found


class Features:
    """Who has which features, as a unit of work asks for it and adds to it: what is known is not read again."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._of: dict[int, set[int]] = {}
        self._counts: dict[int, int] = {}

    def of(self, pks: Collection[int]) -> dict[int, set[int]]:
        """The keys of each indicator."""
        unread = sorted(pk for pk in pks if pk not in self._of)
        self._of |= {pk: set() for pk in unread} | features_of(self._tx.db, unread)
        return {pk: self._of[pk] for pk in pks}

    def counts(self, keys: Collection[int]) -> dict[int, int]:
        """How many have each; where that is more than says anything, it may be less than they are."""
        self._counts |= counts(self._tx.db, [key for key in keys if key not in self._counts])
        return {key: self._counts[key] for key in keys}

    def add(self, new: Sequence[tuple[int, int]]) -> None:
        """Stores (key, indicator) that are not yet stored; quickest in order, since keys are all over their index."""
        self._tx.db.run_many("INSERT INTO feature (key, indicator) VALUES (?, ?)", new)
        for key, pk in new:
            self._of[pk].add(key)
            self._counts[key] += 1


def add_words(tx: Transaction, texts: Mapping[int, str]) -> None:
    """Stores the words of keys: for those that a second indicator has."""
    tx.db.run_many("INSERT INTO feature_name (key, text) VALUES (?, ?) ON CONFLICT DO NOTHING", sorted(texts.items()))


def having(db: Connection, key: int, most: int) -> list[int]:
    """The indicators that have a feature, by row number; at most so many."""
    return [row[0] for row in db.rows("SELECT indicator FROM feature WHERE key = ? LIMIT ?", (key, most))]


def counts(db: Connection, keys: Collection[int]) -> dict[int, int]:
    """How many indicators have each feature; beyond what says anything one more is all that is counted."""
    found = dict.fromkeys(keys, 0)
    limits: dict[int, list[int]] = defaultdict(list)
    for key in keys:
        limits[most_members(key) + 1].append(key)
    for limit, some in limits.items():
        text = f"SELECT 1 FROM feature WHERE feature.key = found.key LIMIT {limit}"
        counted = f"SELECT key, (SELECT count(*) FROM ({text}) AS having_it) FROM keys() AS found WHERE {_IS_THERE}"
        found.update(db.rows_in(counted, some))
    return found


# Of a list nearly all are new, and a row for each that nobody has costs more than looking twice for the others.
_IS_THERE: Final = "EXISTS (SELECT 1 FROM feature WHERE feature.key = found.key)"


def benign(db: Connection, pks: Sequence[int]) -> set[int]:
    """Those of the indicators that are in no campaign, whatever they share."""
    rows = db.rows_in("SELECT pk, withheld_code FROM indicator WHERE pk IN keys() AND withheld_code IS NOT NULL", pks)
    return {pk for pk, code in rows if code in BENIGN_CODES}


def members(db: Connection, keys: Sequence[int]) -> set[int]:
    """Everybody who has any of the features; to be asked of those few have."""
    return {row[0] for row in db.rows_in("SELECT indicator FROM feature WHERE key IN keys()", keys)}


def texts(db: Connection, keys: Sequence[int]) -> dict[int, str]:
    """The words of features; those only one indicator has are left out."""
    return dict(db.rows_in("SELECT key, text FROM feature_name WHERE key IN keys()", keys))


def in_campaigns(db: Connection, pks: Sequence[int]) -> set[int]:
    """Those of the indicators that are in a campaign."""
    return {row[0] for row in db.rows_in("SELECT indicator FROM campaign_member WHERE indicator IN keys()", pks)}


class Membership(NamedTuple):
    """Who is in which campaign, and which campaigns correlation must keep as they are (edited, or dismissed)."""

    nodes: dict[int, frozenset[int]]
    kept: frozenset[int]
    banned: dict[int, frozenset[int]]


def membership(db: Connection, campaigns: Sequence[int]) -> Membership:
    """The members of campaigns, with what operators decided about them."""
    nodes: dict[int, set[int]] = defaultdict(set)
    banned: dict[int, set[int]] = defaultdict(set)
    for campaign, pk in db.rows_in(
        "SELECT campaign, indicator FROM campaign_member WHERE campaign IN keys()", campaigns
    ):
        nodes[campaign].add(pk)
    for campaign, pk in db.rows_in("SELECT campaign, indicator FROM campaign_ban WHERE campaign IN keys()", campaigns):
        banned[campaign].add(pk)
    rows = db.rows_in(
        "SELECT pk FROM campaign WHERE pk IN keys() AND (by_hand = 1 OR dismissed_at IS NOT NULL)", campaigns
    )
    return Membership(
        {campaign: frozenset(pks) for campaign, pks in nodes.items()},
        frozenset(row[0] for row in rows),
        {campaign: frozenset(pks) for campaign, pks in banned.items()},
    )


def founding(db: Connection, pks: Sequence[int]) -> tuple[list[bytes], str | None]:
    """The ids of indicators, and the category most of them have."""
    rows = db.rows_in("SELECT id, category FROM indicator WHERE pk IN keys()", pks)
    categories = [row[1] for row in rows if row[1]]
    return [row[0] for row in rows], max(sorted(set(categories)), key=categories.count, default=None)


_OF_INDICATOR: Final = ("feature", "campaign_member", "campaign_ban", "correlation_due")


def forget(tx: Transaction, gone: Sequence[IndicatorState]) -> None:
    """Takes indicators that are removed out of everything here; a campaign that only correlation kept goes when empty.

    The words of a feature that fewer than two are left with go too: they may be the value itself.
    """
    pks = sorted(state.pk for state in gone)
    own = {relation_feature(state.indicator).key for state in gone}
    keys = own.union(*features_of(tx.db, pks).values())
    within = campaigns.campaigns_of(tx.db, pks)
    for table in _OF_INDICATOR:
        tx.db.run_many(f"DELETE FROM {table} WHERE indicator = ?", [(pk,) for pk in pks])
    tx.db.run_many("DELETE FROM feature WHERE key = ?", [(key,) for key in own])
    alone = [(key,) for key in sorted(keys) if len(having(tx.db, key, 2)) < 2]
    tx.db.run_many("DELETE FROM feature_name WHERE key = ?", alone)
    campaigns.refresh(tx, within)
    empty = "SELECT pk FROM campaign WHERE pk IN keys() AND iocs = 0 AND by_hand = 0"
    for (campaign,) in tx.db.rows_in(empty, within):
        delete_campaign(tx, campaign)


def delete_campaign(tx: Transaction, campaign: int) -> None:
    """Forgets a campaign correlation made that nothing holds together any more."""
    for table, column in (("campaign_ban", "campaign"), ("campaign_event", "campaign"), ("campaign", "pk")):
        tx.db.run(f"DELETE FROM {table} WHERE {column} = ?", (campaign,))
