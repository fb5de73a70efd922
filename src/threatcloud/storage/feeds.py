"""Published sets: the log of who entered and left, the rendered bodies, and the pages of the indicator feed."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from threatcloud.domain.feed import EVERYTHING, Detail, Least
from threatcloud.domain.holding import HELD_TYPES
from threatcloud.domain.indicator import IndicatorType, indicator_key
from threatcloud.domain.list_text import Members
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.storage import fading, feed_log
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.indicators import COLUMNS, of_each
from threatcloud.storage.names import Names

LISTED: Final = "listed"
UNLISTED: Final = "unlisted"
UNSHARED: Final = "unshared"
_TYPES: Final = {kind.code: kind for kind in IndicatorType}
#: ``domain.list_text.Members`` of the rows.
_MULTIPLE: Final = "(pk * 2654435761 % 2147483647)"
_SQUARE: Final = f"({_MULTIPLE} * {_MULTIPLE} % 2147483629)"
_MEMBERS: Final = f"count(*), sum(pk), sum({_SQUARE} * {_SQUARE} % 274877906899)"
#: What lists say of an indicator, besides its reputation.
_SHOWN: Final = (
    *("value", "pk", "category", "first_seen", "last_seen"),
    *("confidence", "updated_at", "expires_at", "tlp", "metadata"),
)
#: Changes with what they are about, stored or removed.
NAMED_CHANGES: Final = (
    "feed_change c LEFT JOIN indicator i ON i.pk = c.indicator LEFT JOIN departed d ON d.indicator = c.indicator"
)


class ListBody(NamedTuple):
    """A rendered list: one value a line, worst first, each line ended; and who is in it.

    The fingerprint does not depend on the order, so a list whose members only changed places has the same one.
    """

    lines: bytes
    members: Members

    @property
    def entries(self) -> int:
        """How many lines."""
        return self.members.entries

    @property
    def fingerprint(self) -> str:
        """See above."""
        return self.members.fingerprint


class Departure(NamedTuple):
    """An indicator that left a published set."""

    seq: int
    value: str
    type: str
    at: int


#: Announced when lists or a release were stored for other nodes to take up, and when something was erased.
PUBLISHED: Final = "published"
ERASED: Final = "erased"


def feed_topic(kind: IndicatorType) -> str:
    """The topic that says something published about indicators of this type has changed."""
    return f"feed:{kind.value}"


class _Moves:
    """What comes of changes of states: entries of the log, and who begins and ceases to fade."""

    def __init__(self, fading_now: set[int], by_time: bool) -> None:
        self._fading = fading_now
        self._by_time = by_time
        self.log: list[tuple[int, str]] = []
        self.fading: list[IndicatorState] = []
        self.settled: list[int] = []

    def take(self, old: IndicatorState | None, new: IndicatorState) -> bool:
        """Takes one change; whether it concerns a published set."""
        was_shared, was_listed = (old.shared, old.listed) if old else (False, False)
        was_fading = new.pk in self._fading
        stood = was_listed or was_fading
        fades = stood and not new.listed and self._may_fade(new)
        if old is not None and fades and not was_fading:
            self.fading.append(old)
        if was_fading and not fades:
            self.settled.append(new.pk)
        stands = new.listed or fades
        if stands != stood:
            self.log.append((new.pk, LISTED if stands else UNLISTED))
        if was_shared and not new.shared:
            self.log.append((new.pk, UNSHARED))
        return was_shared or new.shared or was_fading

    def _may_fade(self, new: IndicatorState) -> bool:
        return self._by_time and new.status is not Status.WHITELISTED and new.indicator.type in HELD_TYPES


def record_changes(
    tx: Transaction, moves: Iterable[tuple[IndicatorState | None, IndicatorState]], *, by_time: bool = False
) -> None:
    """Logs what entered or left the published sets, and announces the feeds that are to be rendered anew.

    What leaves the default lists ``by_time`` alone is fading: it stands until ``services.holding`` lets it go.
    """
    changes = list(moves)
    found = _Moves(fading.among(tx.db, [new.pk for _, new in changes]), by_time)
    for old, new in changes:
        if found.take(old, new):
            tx.announce(feed_topic(new.indicator.type))
    fading.begin(tx, found.fading)
    fading.end(tx, found.settled)
    if found.log:
        rows = [(tx.now, pk, change) for pk, change in found.log]
        tx.db.run_many("INSERT INTO feed_change (at, indicator, change) VALUES (?, ?, ?)", rows)


def changed_since(db: Connection, after_seq: int) -> tuple[int, set[IndicatorType]]:
    """The last change, and the types of all that came after another."""
    rows = db.rows(
        f"SELECT coalesce(i.type, d.type), max(c.seq) FROM {NAMED_CHANGES} WHERE c.seq > ? GROUP BY 1", (after_seq,)
    )
    return max((row[1] for row in rows), default=after_seq), {_TYPES[row[0]] for row in rows if row[0]}


def last_change(db: Connection) -> int:
    """The sequence number of the last change, 0 when there never was one."""
    row = db.row("SELECT max(seq) FROM feed_change")
    return int(row[0] or 0) if row else 0


def render_list(
    db: Connection,
    kind: IndicatorType,
    max_reputation: int,
    category: str | None,
    hosts_only: bool,
    least: Least = EVERYTHING,
    *,
    detail: Detail = Detail.VALUE,
    min_reputation: int = 0,
) -> ListBody:
    """All shared values of a type up to a reputation, worst first, with those fading that were listed with one.

    With a ``detail`` each line has its fields, with tabs between them; techniques are an array in JSON.

    The engine joins the lines itself, outside the interpreter: a million take 0.3 s and hold up nobody. Read by the
    index they are in order as they come; to ask for the order costs a quarter more.
    """
    source, params = _members(db, kind, (min_reputation, max_reputation), category, hosts_only, least)
    row = db.row(f"SELECT {db.joined_lines(_line(db, detail))}, {_MEMBERS} FROM {source}", params)
    assert row is not None
    lines, entries, total, scattered = row
    return ListBody(lines + b"\n" if entries else b"", Members(entries, total or 0, scattered or 0))


def entry_lines(db: Connection, kind: IndicatorType, values: Sequence[str], detail: Detail) -> bytes:
    """Lines as ``render_list`` writes them, of those of the values that are stored; in no order."""
    keys = [indicator_key(kind, value) for value in values]
    rows = db.rows_in(f"SELECT {_line(db, detail)} FROM indicator WHERE id IN keys()", keys) if keys else []
    return "".join(f"{line}\n" for (line,) in rows).encode()


def _line(db: Connection, detail: Detail) -> str:
    """The text of a row: the value, or all fields of an entry with tabs between them."""
    if detail is Detail.VALUE:
        return "value"
    fields = ["value", "reputation", "coalesce(category, '')", db.iso_time("first_seen"), db.iso_time("last_seen")]
    if detail is Detail.FULL:
        techniques = db.json_member("metadata", "mitreIds")
        percent = "CAST(round(confidence * 100) AS INTEGER)"
        times = db.iso_time("updated_at"), f"coalesce({db.iso_time('expires_at')}, '')"
        fields += [percent, *times, "coalesce(tlp, '')", f"coalesce({techniques}, '')"]
    return " || '\t' || ".join(fields)


def _members(
    db: Connection, kind: IndicatorType, span: tuple[int, int], category: str | None, hosts_only: bool, least: Least
) -> tuple[str, list[object]]:
    """What a list is to be read from, in its order, and the parameters of that."""
    asked = {
        "category = ?": category,
        "confidence >= ?": least.confidence,
        "last_seen >= ?": least.seen_since,
        "country = ?": least.country,
    }
    extra = "".join(f" AND {condition}" for condition, value in asked.items() if value is not None)
    more = [value for value in asked.values() if value is not None]
    if hosts_only:
        extra += " AND (instr(value, '/') = 0 OR value LIKE '%.0.0/32')"
    within = "{0}reputation >= ? AND {0}reputation <= ?".format
    shared = f"indicator INDEXED BY indicator_shared WHERE type = ? AND shared = 1 AND {within('')}{extra}"
    params: list[object] = [kind.code, *span, *more]
    if not fading.any_of(db, kind):
        return shared, params
    source = (
        f"(SELECT {', '.join(_SHOWN)}, reputation FROM {shared} UNION ALL "
        f"SELECT {', '.join(f'i.{column}' for column in _SHOWN)}, f.reputation "
        "FROM fading f JOIN indicator i ON i.pk = f.indicator "
        f"WHERE f.type = ? AND {within('f.')} AND NOT (i.shared = 1 AND i.reputation <= ?){extra} "
        "ORDER BY reputation, pk) AS shown"
    )
    return source, [*params, kind.code, *span, span[1], *more]


def shared_page(
    db: Connection, kinds: Sequence[IndicatorType], since: int, after_pk: int, limit: int, names: Names
) -> list[IndicatorState]:
    """Shared indicators updated at or after a time (and, at that very time, after a row number), oldest first."""
    sql = (
        f"SELECT {COLUMNS} FROM indicator WHERE type = ? AND updated_at >= ? AND shared = 1 "
        "AND (updated_at > ? OR pk > ?) ORDER BY updated_at, pk LIMIT ?"
    )
    return of_each(db, sql, [(kind.code, since, since, after_pk, limit) for kind in kinds], names)[:limit]


def departures(db: Connection, change: str, since_at: int, after_seq: int, limit: int) -> list[Departure]:
    """Indicators that left a set since a time and a sequence number and have not come back, oldest first."""
    column = "shared" if change == UNSHARED else "listed"
    rows = db.rows(
        f"SELECT c.seq, coalesce(i.value, d.value), coalesce(i.type, d.type), c.at FROM {NAMED_CHANGES} "
        "LEFT JOIN indicator again ON again.id = d.id WHERE c.seq > ? AND c.at >= ? AND c.change = ? "
        f"AND coalesce(i.pk, d.indicator) IS NOT NULL AND coalesce(i.{column}, again.{column}, 0) = 0 "
        "ORDER BY c.seq LIMIT ?",
        (after_seq, since_at, change, limit),
    )
    return [Departure(seq, value, _TYPES[code].value, at) for seq, value, code, at in rows]


class Membership(NamedTuple):
    """What changed in the default lists between two sequence numbers, net of comings and goings: (type, value)."""

    added: list[tuple[str, str]]
    removed: list[tuple[str, str]]


def changes_between(db: Connection, after_seq: int, to_seq: int, *, netted: bool = True) -> Membership:
    """(type, value) of what entered and what left the default lists after one change and up to another.

    Without ``netted`` also what came and went again: a list may hold a little more than its release says, and who
    goes on from such a list must be told that it is gone.
    """
    rows = db.rows(
        f"SELECT coalesce(i.type, d.type), coalesce(i.value, d.value), c.change FROM {NAMED_CHANGES} "
        "WHERE c.seq > ? AND c.seq <= ? AND c.change IN ('listed', 'unlisted') "
        "AND coalesce(i.pk, d.indicator) IS NOT NULL ORDER BY c.seq",
        (after_seq, to_seq),
    )
    # By value: what was removed and reported again has another row number.
    first: dict[tuple[int, str], str] = {}
    last: dict[tuple[int, str], str] = {}
    for code, value, change in rows:
        first.setdefault((code, value), change)
        last[code, value] = change
    net = [
        (change, _TYPES[code].value, value)
        for (code, value), change in last.items()
        if not netted or first[code, value] == change
    ]
    return Membership(
        added=[(kind, value) for change, kind, value in net if change == LISTED],
        removed=[(kind, value) for change, kind, value in net if change == UNLISTED],
    )


def standing_among(db: Connection, keys: Sequence[bytes]) -> list[tuple[str, str | None]]:
    """(value, category) of the indicators among the ids that are on a default list."""
    rows = db.rows_in(
        "SELECT value, category FROM indicator WHERE id IN keys() "
        "AND (listed = 1 OR EXISTS (SELECT 1 FROM fading WHERE fading.indicator = indicator.pk))",
        keys,
    )
    return [(value, category) for value, category in rows]


def listed_hosts(db: Connection, kind: IndicatorType, max_reputation: int) -> list[str]:
    """The values of a default list, hosts only, worst first."""
    body = render_list(db, kind, max_reputation, None, hosts_only=True)
    return body.lines.decode().split("\n")[:-1]


class Release(NamedTuple):
    """A version of the agent package: all changes up to ``seq``, and of rules up to ``rules_at``, are in it."""

    version: str
    seq: int
    at: int
    rules_at: int = 0


def newest_release(db: Connection) -> Release | None:
    """The release with the largest version."""
    row = db.row("SELECT version, seq, at, rules_at FROM release ORDER BY version DESC LIMIT 1")
    return Release(*row) if row else None


def find_release(db: Connection, version: str) -> Release | None:
    """The release of this version, or the first of the day when only that is given; None when a delta from it could
    no longer tell all that left."""
    row = db.row("SELECT version, seq, at, rules_at FROM release WHERE version = ?", (version,))
    if row is None and "." not in version:
        row = db.row(
            "SELECT version, seq, at, rules_at FROM release WHERE version LIKE ? ORDER BY version LIMIT 1",
            (version + ".%",),
        )
    return Release(*row) if row and row[1] >= feed_log.floor(db).seq else None


def add_release(tx: Transaction, release: Release) -> None:
    """Enters a release."""
    tx.db.run("INSERT INTO release (version, seq, at, rules_at) VALUES (?, ?, ?, ?)", release)


class SavedSnapshot(NamedTuple):
    """A published body as it was, so that a restart keeps its bytes, its time and its ETag."""

    name: str
    generated_at: int
    entries: int
    fingerprint: str
    body_zstd: bytes


def load_snapshot(db: Connection, name: str) -> SavedSnapshot | None:
    """The saved body of this name, or None."""
    row = db.row("SELECT name, generated_at, entries, fingerprint, body_zstd FROM snapshot WHERE name = ?", (name,))
    return SavedSnapshot(*row) if row else None


def snapshot_time(db: Connection, name: str) -> tuple[int, str] | None:
    """When the saved body of this name was rendered, and its fingerprint; None when there is none."""
    row = db.row("SELECT generated_at, fingerprint FROM snapshot WHERE name = ?", (name,))
    return (row[0], row[1]) if row else None


def save_snapshot(tx: Transaction, snapshot: SavedSnapshot) -> None:
    """Keeps a body, replacing the one of the same name."""
    tx.db.run(
        "INSERT INTO snapshot (name, generated_at, entries, fingerprint, body_zstd) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET generated_at=excluded.generated_at, entries=excluded.entries, "
        "fingerprint=excluded.fingerprint, body_zstd=excluded.body_zstd",
        snapshot,
    )


def drop_snapshots(tx: Transaction) -> None:
    """Forgets all saved bodies, and has every node let go of what it has rendered."""
    tx.db.run("DELETE FROM snapshot")
    tx.announce(ERASED)
