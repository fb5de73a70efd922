"""What followers are told, read from the tables that deltas and pages are made of: nothing is stored for it."""

from typing import Final, NamedTuple

from threatcloud.domain.change import Change, ChangeKind, Place
from threatcloud.domain.errors import Gone
from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.storage import campaigns, feed_log, feeds
from threatcloud.storage.driver import Connection, Row
from threatcloud.storage.indicators import COLUMNS, state_of
from threatcloud.storage.names import Names

#: After every row of a time.
_ALL: Final = (1 << 62) - 1
_KINDS: Final = {
    feeds.LISTED: ChangeKind.LISTED,
    feeds.UNLISTED: ChangeKind.UNLISTED,
    feeds.UNSHARED: ChangeKind.REMOVED,
}


class Slice(NamedTuple):
    """Changes after a place, and the place after all of them. ``more``: there may be further ones."""

    changes: list[Change]
    place: Place
    more: bool


def newest_place(db: Connection) -> Place:
    """The place after all that was committed."""
    times = (db.row("SELECT max(updated_at) FROM indicator WHERE type = ?", (kind.code,)) for kind in IndicatorType)
    updated_at = max((row[0] for row in times if row and row[0]), default=0)
    campaign = db.row("SELECT max(updated_at) FROM campaign")
    version = db.row("SELECT max(version) FROM release")
    campaign_at = (campaign and campaign[0]) or 0
    return Place(feeds.last_change(db), updated_at, _ALL, campaign_at, _ALL, (version and version[0]) or "")


def changes_after(db: Connection, place: Place, limit: int, names: Names) -> Slice:
    """The changes after a place, at most so many of each log; each carries the place that a follower is at after it.

    Raises Gone where not all that left since can be told any more.
    """
    if place.seq < feed_log.floor(db).seq:
        raise Gone(
            "what left since then can no longer be told in full: load the lists anew, then follow from now on, "
            "without Last-Event-ID"
        )
    found: list[Change] = []
    logs = (_of_sets, _of_indicators, _of_campaigns, _of_versions)
    is_full = False
    for log in logs:
        place, told, rows = log(db, place, limit, names)
        found += told
        is_full = is_full or rows == limit
    return Slice(found, place, is_full)


_Told = tuple[Place, list[Change], int]


def _of_sets(db: Connection, place: Place, limit: int, names: Names) -> _Told:
    rows = db.rows(
        "SELECT seq, at, indicator, change FROM feed_change WHERE seq > ? ORDER BY seq LIMIT ?", (place.seq, limit)
    )
    numbers = sorted({row[2] for row in rows})
    states = {
        row[0]: state_of(row, names)
        for row in (db.rows_in(f"SELECT {COLUMNS} FROM indicator WHERE pk IN keys()", numbers) if numbers else ())
    }
    missing = [pk for pk in numbers if pk not in states]
    gone = {
        pk: Indicator(IndicatorType.from_code(code), value)
        for pk, code, value in (
            db.rows_in("SELECT indicator, type, value FROM departed WHERE indicator IN keys()", missing)
            if missing
            else ()
        )
    }
    told = []
    for seq, at, pk, word in rows:
        place = place._replace(seq=seq)
        state, kind = states.get(pk), _KINDS.get(word)
        indicator = state.indicator if state else gone.get(pk)
        if kind is not None and indicator is not None:  # else it was erased
            told.append(Change(kind, at, place, indicator, state))
    return place, told, len(rows)


def _of_indicators(db: Connection, place: Place, limit: int, names: Names) -> _Told:
    states = feeds.shared_page(db, tuple(IndicatorType), place.updated_at, place.pk, limit, names)
    told = []
    for state in states:
        place = place._replace(updated_at=state.updated_at, pk=state.pk)
        told.append(Change(ChangeKind.CHANGED, state.updated_at, place, state.indicator, state))
    return place, told, len(states)


def _of_campaigns(db: Connection, place: Place, limit: int, _names: Names) -> _Told:
    rows = db.rows(
        f"SELECT {campaigns.COLUMNS}, coalesce(merged_into, dismissed_at) FROM campaign WHERE updated_at >= ? "
        "AND (updated_at > ? OR pk > ?) ORDER BY updated_at, pk LIMIT ?",
        (place.campaign_at, place.campaign_at, place.campaign_pk, limit),
    )
    told = []
    for row in rows:
        place, change = _campaign(place, row)
        told.append(change)
    return place, told, len(rows)


def _campaign(place: Place, row: Row) -> tuple[Place, Change]:
    campaign, is_gone = campaigns.campaign_of(row[:-1]), row[-1] is not None
    place = place._replace(campaign_at=campaign.updated_at, campaign_pk=campaign.pk)
    shown = None if is_gone else campaign
    change = Change(ChangeKind.CAMPAIGN, campaign.updated_at, place, campaign_id=campaign.id, campaign=shown)
    return place, change


def _of_versions(db: Connection, place: Place, limit: int, _names: Names) -> _Told:
    rows = db.rows("SELECT version, at FROM release WHERE version > ? ORDER BY version LIMIT ?", (place.version, limit))
    told = []
    for version, at in rows:
        place = place._replace(version=version)
        told.append(Change(ChangeKind.VERSION, at, place))
    return place, told, len(rows)
