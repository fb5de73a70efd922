"""The indicator table: states by id, written in batches, searched by page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from threatcloud.domain.indicator import Indicator, IndicatorType
from threatcloud.domain.report import Severity
from threatcloud.domain.state import IndicatorState, Status
from threatcloud.storage.driver import Connection, Params, Row, Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.walking import slice_end

COLUMNS: Final = (
    "pk, id, type, value, status, reputation, category, severity, confidence, source, sources, sightings, first_seen, "
    "last_seen, created_at, updated_at, expires_at, next_change_at, withheld_code, withheld_list, cloud, country, "
    "asn, tlp, metadata, shared, listed"
)
_INSERT: Final = f"INSERT INTO indicator ({COLUMNS}) VALUES ({', '.join('?' * 27)})"
#: What every index over more than ids and updates is made of.
_INDEXED: Final = ("status", "reputation", "expires_at", "shared")
#: What may change, in the order of ``_values``.
_CHANGING: Final = COLUMNS.split(", ")[4:]
_UNINDEXED: Final = [at for at, column in enumerate(_CHANGING) if column not in _INDEXED]
_UPDATE: Final = f"UPDATE indicator SET {', '.join(f'{column}=?' for column in _CHANGING)} WHERE pk=?"
#: A column that is named has its indexes written again, though it stays as it is: of a million the page that holds the
#: entry in ``indicator_shared`` is one of five that a sighting writes.
_UPDATE_UNINDEXED: Final = f"UPDATE indicator SET {', '.join(f'{_CHANGING[at]}=?' for at in _UNINDEXED)} WHERE pk=?"
#: The name in ``meta`` of the largest row number that a removed indicator had.
LAST_PK: Final = "last_indicator"
_STATUSES: Final = {status.value: status for status in Status}
_TYPES: Final = {kind.code: kind for kind in IndicatorType}
_SEVERITIES: Final[dict[int | None, Severity | None]] = {
    None: None,
    **{int(severity): severity for severity in Severity},
}
_encode: Final = msgspec.json.Encoder().encode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


def state_of(row: Row, names: Names) -> IndicatorState:
    """The state a row of ``COLUMNS`` stands for."""
    # As IndicatorState._make does it, one call less: every look-up comes through here.
    return tuple.__new__(
        IndicatorState,
        (
            row[0],
            row[1],
            Indicator(_TYPES[row[2]], row[3]),
            _STATUSES[row[4]],
            row[5],
            row[6],
            _SEVERITIES[row[7]],
            row[8],
            names.source(row[9]),
            names.sources_of(row[10]),
            *row[11:24],
            None if row[24] is None else _decode_object(row[24]),
            row[25] == 1,
            row[26] == 1,
        ),
    )


def _values(state: IndicatorState, names: Names) -> tuple[Any, ...]:
    return (
        state.status,
        state.reputation,
        state.category,
        state.severity,
        state.confidence,
        names.source_pk(state.source),
        names.sources_text(state.sources),
        *state[10:23],
        None if state.metadata is None else _encode(state.metadata).decode(),
        state.shared,
        state.listed,
    )


def find(db: Connection, key: bytes, names: Names) -> IndicatorState | None:
    """The state of the indicator with this id, or None."""
    row = db.row(f"SELECT {COLUMNS} FROM indicator WHERE id = ?", (key,))
    return None if row is None else state_of(row, names)


def exists(db: Connection, key: bytes) -> bool:
    """Whether there is an indicator with this id."""
    return db.row("SELECT 1 FROM indicator WHERE id = ?", (key,)) is not None


def find_connected(db: Connection, key: bytes, names: Names) -> tuple[IndicatorState, bool, bool] | None:
    """The state of the indicator with this id, whether it has any relation, and any campaign; None: not stored."""
    row = db.row(
        f"SELECT {COLUMNS}, EXISTS (SELECT 1 FROM relation WHERE subject = id) "
        "OR EXISTS (SELECT 1 FROM relation WHERE object = id), "
        "EXISTS (SELECT 1 FROM campaign_member WHERE indicator = pk) FROM indicator WHERE id = ?",
        (key,),
    )
    return None if row is None else (state_of(row, names), row[27] == 1, row[28] == 1)


def by_change(states: Iterable[IndicatorState]) -> list[IndicatorState]:
    """The states, the oldest change first, and of one commit in the order of their row numbers."""
    return sorted(states, key=lambda state: (state.updated_at, state.pk))


def of_each(db: Connection, sql: str, params: Iterable[Params], names: Names) -> list[IndicatorState]:
    """What a statement finds with each of these parameters, the oldest change first."""
    return by_change(state_of(row, names) for one in params for row in db.rows(sql, one))


def find_many(db: Connection, keys: Sequence[bytes], names: Names) -> dict[bytes, IndicatorState]:
    """The states that exist among the ids, by id."""
    rows = db.rows_in(f"SELECT {COLUMNS} FROM indicator WHERE id IN keys()", keys)
    return {row[1]: state_of(row, names) for row in rows}


#: The little that a verdict tells: id, reputation, status, sightings, category. A row as it comes, since one look-up
#: reads ten thousand.
Brief = tuple[bytes, int, str, int, str | None]


def briefs(db: Connection, keys: Sequence[bytes]) -> dict[bytes, Brief]:
    """What verdicts tell of those that exist among the ids, by id: a fifth of what a whole state costs."""
    rows = db.rows_in("SELECT id, reputation, status, sightings, category FROM indicator WHERE id IN keys()", keys)
    return {row[0]: row for row in rows}


def next_pk(db: Connection) -> int:
    """The first row number that no indicator has or had; only the writer asks."""
    row = db.row(f"SELECT (SELECT max(pk) FROM indicator), (SELECT value FROM meta WHERE name = '{LAST_PK}')")
    return max(row[0] or 0, int(row[1] or 0)) + 1 if row else 1


def insert(tx: Transaction, states: Iterable[IndicatorState], names: Names) -> None:
    """Stores new states."""
    tx.db.run_many(
        _INSERT,
        [(s.pk, s.id, s.indicator.type.code, s.indicator.value, *_values(s, names)) for s in states],
    )


def update(tx: Transaction, moves: Iterable[tuple[IndicatorState, IndicatorState]], names: Names) -> None:
    """Overwrites states that are stored already: each with what comes in its place."""
    whole: list[tuple[Any, ...]] = []
    unindexed: list[tuple[Any, ...]] = []
    for old, new in moves:
        values = _values(new, names)
        if _indexed(old) == _indexed(new):
            unindexed.append((*[values[at] for at in _UNINDEXED], new.pk))
        else:
            whole.append((*values, new.pk))
    tx.db.run_many(_UPDATE, whole)
    tx.db.run_many(_UPDATE_UNINDEXED, unindexed)


def _indexed(state: IndicatorState) -> tuple[Any, ...]:
    return state.status, state.reputation, state.expires_at, state.shared


def due_for_decay(db: Connection, after_pk: int, rows: int, now: int) -> tuple[int | None, list[bytes]]:
    """One slice of the table after a row number: where the next slice begins (None at the end), and the ids in this one
    whose reputation age can have moved."""
    last = slice_end(db, "indicator", after_pk, rows)
    if last is None:
        return None, []
    found = db.rows("SELECT id FROM indicator WHERE pk > ? AND pk <= ? AND next_change_at <= ?", (after_pk, last, now))
    return last, [row[0] for row in found]


def expired(db: Connection, now: int, most: int) -> list[bytes]:
    """The ids of active indicators whose expiry has come."""
    rows = db.rows(
        "SELECT id FROM indicator WHERE status = 'active' AND expires_at <= ? AND expires_at IS NOT NULL LIMIT ?",
        (now, most),
    )
    return [row[0] for row in rows]


def containing(db: Connection, packed: Sequence[bytes], names: Names) -> list[IndicatorState]:
    """The stored networks among the packed ones, widest first."""
    marks = ",".join("?" * len(packed))
    found = (
        f"SELECT {COLUMNS} FROM network AS n CROSS JOIN indicator AS i ON i.pk = n.indicator WHERE packed IN ({marks})"
    )
    states = [state_of(row, names) for row in db.rows(found, packed)]
    return sorted(states, key=lambda state: int(state.indicator.value.rpartition("/")[2]))


def add_networks(tx: Transaction, networks: Mapping[bytes, int], names: Names) -> None:
    """Enters new networks, packed form to row number."""
    tx.db.run_many("INSERT INTO network (packed, indicator) VALUES (?, ?)", networks.items())
    for packed in networks:
        names.networks.add(packed)


def add_labels(tx: Transaction, labels: Iterable[tuple[str, str, int]]) -> None:
    """Enters (kind, value, row number) once each."""
    tx.db.run_many("INSERT INTO label (kind, value, indicator) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", labels)


def add_relations(tx: Transaction, relations: Iterable[tuple[bytes, bytes, str, int]]) -> None:
    """Enters (subject id, object id, kind, row number of the reporter) once each."""
    tx.db.run_many(
        "INSERT INTO relation (subject, object, kind, reporter) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", relations
    )


def keys_related(db: Connection, key: bytes) -> list[bytes]:
    """The ids related to this one, either way round, stored or not."""
    rows = db.rows(
        "SELECT object FROM relation WHERE subject = ? UNION SELECT subject FROM relation WHERE object = ?", (key, key)
    )
    return [row[0] for row in rows]


def related(db: Connection, key: bytes, most: int = 100) -> list[tuple[str, str, str]]:
    """(value, type, relation) of stored indicators related to this one, either way round; at most ``most``."""
    rows = db.rows(
        "SELECT i.value, i.type, r.kind FROM relation r JOIN indicator i ON i.id = r.object WHERE r.subject = ? "
        "UNION SELECT i.value, i.type, r.kind FROM relation r JOIN indicator i ON i.id = r.subject WHERE r.object = ? "
        "ORDER BY 1 LIMIT ?",
        (key, key, most),
    )
    return [(row[0], _TYPES[row[1]].value, row[2]) for row in rows]


def drop_tag(tx: Transaction, tag: str) -> None:
    """Takes a tag from all indicators that can be found by it."""
    tx.db.run("DELETE FROM label WHERE kind = 'tag' AND value = ?", (tag,))
