"""What is shown of campaigns: pages, statistics, and what the members of one say. Nothing here writes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from threatcloud.domain.campaign import Campaign
from threatcloud.domain.features import FeatureKind, kind_of
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.state import IndicatorState
from threatcloud.storage.campaigns import COLUMNS, SHOWN, campaign_of
from threatcloud.storage.driver import Connection, Row
from threatcloud.storage.indicators import COLUMNS as INDICATOR_COLUMNS
from threatcloud.storage.indicators import state_of
from threatcloud.storage.names import Names

MAX_SHARED: Final = 50
MAX_CONTEXTS: Final = 5_000
_TYPES: Final = {kind.code: kind.value for kind in IndicatorType}
_ITEM_COLUMNS: Final = ", ".join(f"i.{name.strip()}" for name in INDICATOR_COLUMNS.split(","))


class Wanted(NamedTuple):
    """Which campaigns: by time of activity (both ends included), by update, by technique and tag; None asks nothing."""

    activity: tuple[int, int] | None = None
    since: int | None = None
    technique: str | None = None
    tag: str | None = None


def _where(wanted: Wanted) -> tuple[str, list[Any]]:
    where, params = [SHOWN], list[Any]()
    if wanted.activity is not None:
        where.append("last_activity >= ? AND last_activity <= ?")
        params += wanted.activity
    if wanted.since is not None:
        where.append("updated_at >= ?")
        params.append(wanted.since)
    for column, value in (("mitre_ids", wanted.technique), ("tags", wanted.tag)):
        if value is not None:
            where.append(f"instr({column}, ?) > 0")
            params.append(msgspec.json.encode(value).decode())
    return " AND ".join(where), params


def page(
    db: Connection, wanted: Wanted, after: tuple[int, int] | None, offset: int, limit: int
) -> tuple[list[Campaign], int]:
    """One page, the last active first, and how many there are in all; ``after``: (activity, pk) of the item before."""
    where, params = _where(wanted)
    row = db.row(f"SELECT count(*) FROM campaign WHERE {where}", params)
    assert row is not None
    if after is not None:
        where += " AND (last_activity, pk) < (?, ?)"
        params += after
    rows = db.rows(
        f"SELECT {COLUMNS} FROM campaign WHERE {where} ORDER BY last_activity DESC, pk DESC LIMIT ? OFFSET ?",
        [*params, limit, offset],
    )
    return [campaign_of(item) for item in rows], int(row[0])


class Totals(NamedTuple):
    """All campaigns in numbers: (last activity, severity, indicators) of each, techniques with campaigns, orgs."""

    campaigns: list[tuple[int, int | None, int]]
    techniques: Counter[str]
    orgs: set[str]


def totals(db: Connection) -> Totals:
    """What the statistics are made of."""
    rows = db.rows(f"SELECT last_activity, severity, iocs, mitre_ids, orgs FROM campaign WHERE {SHOWN}")
    techniques: Counter[str] = Counter()
    orgs: set[str] = set()
    for *_, mitre_ids, named in rows:
        if mitre_ids != "[]":
            techniques.update(msgspec.json.decode(mitre_ids))
        if named != "[]":
            orgs.update(msgspec.json.decode(named))
    return Totals([(row[0], row[1], row[2]) for row in rows], techniques, orgs)


def by_type(db: Connection, campaign: int) -> dict[str, int]:
    """Members by type; every type is there."""
    rows = db.rows(
        "SELECT i.type, count(*) FROM campaign_member m JOIN indicator i ON i.pk = m.indicator WHERE m.campaign = ? "
        "GROUP BY i.type",
        (campaign,),
    )
    return dict.fromkeys(_TYPES.values(), 0) | {_TYPES[code]: count for code, count in rows}


def top(db: Connection, campaign: int, kind: IndicatorType, most: int) -> list[tuple[str, int, int]]:
    """(value, sightings, reputation) of the members of a type seen most often."""
    rows = db.rows(
        "SELECT i.value, i.sightings, i.reputation FROM campaign_member m JOIN indicator i ON i.pk = m.indicator "
        "WHERE m.campaign = ? AND i.type = ? ORDER BY i.sightings DESC, i.reputation, i.value LIMIT ?",
        (campaign, kind.code, most),
    )
    return [(row[0], row[1], row[2]) for row in rows]


def first_seen_days(db: Connection, campaign: int) -> list[tuple[int, str, int]]:
    """(day as a number since 1970, type, members first seen on it), oldest first."""
    rows = db.rows(
        "SELECT i.first_seen / 86400000 AS day, i.type, count(*) FROM campaign_member m "
        "JOIN indicator i ON i.pk = m.indicator WHERE m.campaign = ? GROUP BY day, i.type ORDER BY day, i.type",
        (campaign,),
    )
    return [(day, _TYPES[code], count) for day, code, count in rows]


def events(db: Connection, campaign: int, most: int) -> list[tuple[int, str, str]]:
    """(time, event, details), newest first."""
    rows = db.rows(
        "SELECT at, event, details FROM campaign_event WHERE campaign = ? ORDER BY at DESC, pk DESC LIMIT ?",
        (campaign, most),
    )
    return [(row[0], row[1], row[2]) for row in rows]


def source_countries(db: Connection, campaign: int) -> list[str]:
    """Where the members are, most of them first."""
    rows = db.rows(
        "SELECT i.country, count(*) AS n FROM campaign_member m JOIN indicator i ON i.pk = m.indicator "
        "WHERE m.campaign = ? AND i.country IS NOT NULL GROUP BY i.country ORDER BY n DESC, i.country",
        (campaign,),
    )
    return [row[0] for row in rows]


def contexts(db: Connection, campaign: int) -> list[tuple[bool, dict[str, Any]]]:
    """What sightings of the members say beside the value, the last ``MAX_CONTEXTS`` of them.

    The first is whether it came as a mere sighting: then its country is where it was seen, not where it comes from.
    """
    rows = db.rows(
        "SELECT s.category IS NULL AND s.severity IS NULL, s.context FROM campaign_member m "
        "JOIN sighting s ON s.indicator = m.indicator WHERE m.campaign = ? AND s.context IS NOT NULL "
        "ORDER BY s.pk DESC LIMIT ?",
        (campaign, MAX_CONTEXTS),
    )
    return [(mere == 1, msgspec.json.decode(context)) for mere, context in rows]


class Shared(NamedTuple):
    """A feature that several members have."""

    kind: FeatureKind
    text: str
    members: int


def shared(db: Connection, campaign: int) -> list[Shared]:
    """What two or more members have in common, by how many have it, the telling kinds first; at most ``MAX_SHARED``."""
    rows = db.rows(
        "SELECT f.key, n.text, count(*) AS members FROM campaign_member m JOIN feature f ON f.indicator = m.indicator "
        "JOIN feature_name n ON n.key = f.key WHERE m.campaign = ? GROUP BY f.key, n.text HAVING count(*) > 1 "
        "ORDER BY members DESC, f.key LIMIT ?",
        (campaign, MAX_SHARED),
    )
    return _ranked(rows)


def _ranked(rows: Iterable[Row]) -> list[Shared]:
    found = [Shared(kind_of(key), text, members) for key, text, members in rows if members > 1]
    return sorted(found, key=lambda item: (-item.members, item.kind, item.text))


class Member(NamedTuple):
    """A member: its state, since when, whether an operator put it there, and what it shares with others."""

    state: IndicatorState
    joined_at: int
    by_hand: bool
    shares: list[Shared]


def members(db: Connection, campaign: int, after_pk: int, offset: int, limit: int, names: Names) -> list[Member]:
    """Members by row number, after one of them."""
    rows = db.rows(
        f"SELECT {_ITEM_COLUMNS}, m.joined_at, m.by_hand FROM campaign_member m JOIN indicator i ON i.pk = m.indicator "
        "WHERE m.campaign = ? AND m.indicator > ? ORDER BY m.indicator LIMIT ? OFFSET ?",
        (campaign, after_pk, limit, offset),
    )
    return [Member(state_of(row, names), row[27], row[28] == 1, _shares(db, campaign, row[0])) for row in rows]


def _shares(db: Connection, campaign: int, indicator: int) -> list[Shared]:
    rows = db.rows(
        "SELECT f.key, n.text, (SELECT count(*) FROM feature g JOIN campaign_member m ON m.indicator = g.indicator "
        "AND m.campaign = ? WHERE g.key = f.key) AS members FROM feature f JOIN feature_name n ON n.key = f.key "
        "WHERE f.indicator = ?",
        (campaign, indicator),
    )
    return _ranked(rows)


def by_hand(db: Connection, campaign: int) -> int:
    """How many members operators put there."""
    row = db.row("SELECT count(*) FROM campaign_member WHERE campaign = ? AND by_hand = 1", (campaign,))
    return int(row[0]) if row else 0


def member_pks(db: Connection, campaign: int) -> Sequence[tuple[int, bool]]:
    """(row number, put there by an operator) of every member."""
    rows = db.rows("SELECT indicator, by_hand FROM campaign_member WHERE campaign = ? ORDER BY indicator", (campaign,))
    return [(row[0], row[1] == 1) for row in rows]
