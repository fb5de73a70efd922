"""The operator's allowlist: what is put on it or taken off takes effect on everything stored, at once.

An entry is in effect for whatever is stored from its own unit of work on (``screening.allowed``). The indicators that
were stored before it are found by a scan beforehand, and by a look at what came since the scan, inside the unit. Are
they few, they are judged anew in that unit: entry and effect are one. Are they many, the unit marks the entry as
unsettled, and they follow in units of their own, found by a scan that sees all there was when it took effect; a crash
in between leaves the mark, and the next start goes on from there.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from threatcloud.domain.access import Caller
from threatcloud.domain.allow_entry import (
    AllowEntry,
    allowlist_of,
    entry_id,
    parse_entry_id,
    read_entry,
)
from threatcloud.domain.cursor import make_cursor, read_cursor
from threatcloud.domain.errors import Conflict, InvalidInput, NotFound, Problem
from threatcloud.domain.indicator import Indicator, InvalidIndicator
from threatcloud.domain.times import iso
from threatcloud.services.intake import expiry_time
from threatcloud.services.lookup import Page
from threatcloud.services.rescreening import rescreen
from threatcloud.services.screening import Screener
from threatcloud.storage import allowlist, ledger
from threatcloud.storage.allowlist import StoredEntry
from threatcloud.storage.coverage import covered_since, find_covered
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.store import Clock, Store

MAX_BATCH: Final = 100
#: The list is made anew at each change, and every value that is stored is held against it.
MAX_ENTRIES: Final = 10_000
MAX_NOTE: Final = 500
_UNIT_ROWS: Final = 500
#: They share a commit: one by one, each would wait for whatever else the writer does in between.
_UNITS_AT_ONCE: Final = 8
_FIRST_PAGE: Final = 1 << 62


class AllowClaim(NamedTuple):
    """What an operator wants allowed, as it came: nothing checked but its types."""

    value: str
    note: str | None = None
    expires_at: str | None = None


class Allowed(NamedTuple):
    """An entry as stored, and how many stored indicators it covers that are withheld now."""

    stored: StoredEntry
    withheld: int


class Disallowed(NamedTuple):
    """An entry as it was, and how many stored indicators are no longer withheld by the allowlist."""

    stored: StoredEntry
    released: int


class _Effect(NamedTuple):
    """The stored indicators that entries cover, and how many of them were judged otherwise than before."""

    covered: Mapping[bytes, Indicator]
    changed: int


class AllowDesk:
    """The operator's side of the allowlist. Every change is in the audit ledger."""

    def __init__(self, store: Store, names: Names, screener: Screener, audit_secret: bytes, clock: Clock) -> None:
        self._store = store
        self._names = names
        self._screener = screener
        self._audit_secret = audit_secret
        self._clock = clock
        #: One change at a time: two that cover the same indicators would not know which of them is settled.
        self._turn = asyncio.Lock()

    async def add(self, claims: Sequence[AllowClaim | list[Problem]], by: Caller) -> list[Allowed]:
        """Allows values, all of them or none; the answer is in the order of the claims.

        A known entry takes on note and expiry as they are given now. A claim that could not even be read comes as its
        problems. Raises InvalidInput naming every bad one, Conflict when the list would grow too long.
        """
        now = self._clock()
        wanted = _checked(claims, now, by.mask)
        entries = list({item.entry: item for item in wanted}.values())  # of the same value twice the last counts

        def edit(tx: Transaction, is_settled: bool) -> None:
            for item in entries:
                known = allowlist.put(tx, item._replace(created_at=tx.now), is_settled=is_settled)
                self._audit(tx, "update" if known else "create", item, by)
            if allowlist.count(tx.db) > MAX_ENTRIES:
                raise Conflict(f"the allowlist holds {MAX_ENTRIES:,} entries at most; long lists go to TC_BENIGN_LISTS")

        async with self._turn:
            effect = await self._apply([item.entry for item in entries], edit)
        counts = await asyncio.to_thread(_counts, [item.entry for item in entries], effect.covered)
        stored = [await self._store.read(partial(allowlist.find, key=item.entry.key)) for item in wanted]
        return [Allowed(found or item, counts[item.entry]) for found, item in zip(stored, wanted, strict=True)]

    async def remove(self, value: str, by: Caller) -> Disallowed:
        """Takes an entry off, by its id or in any spelling; NotFound when there is none, InvalidIndicator for no value.

        What it covered is judged anew, and comes back where nothing else holds it.
        """
        key = parse_entry_id(value) or read_entry(value).key
        async with self._turn:
            stored = await self._store.read(partial(allowlist.find, key=key))
            if stored is None:
                raise NotFound("this is not on the allowlist; see GET /api/allowlist")
            effect = await self._take_off([stored], by)
        return Disallowed(stored, effect.changed)

    async def page(self, page: int, limit: int, cursor: str | None) -> Page:
        """One page of the entries, newest first."""
        before_pk = read_cursor(cursor, 1)[0] if cursor else _FIRST_PAGE
        offset = 0 if cursor else (page - 1) * limit

        def read(db: Connection) -> Page:
            found = allowlist.page(db, before_pk, offset, limit)
            more = make_cursor(found[-1].pk) if len(found) == limit else None
            return Page(found, allowlist.count(db), more)

        return await self._store.read(read)

    async def tend(self) -> str:
        """Finishes what was cut short and takes off what has expired; says how many entries that were."""
        finished = expired = 0
        async with self._turn:
            while entries := await self._store.read(partial(allowlist.unsettled, most=MAX_BATCH)):
                await self._settle(entries)
                finished += len(entries)
            while due := await self._store.read(partial(allowlist.expired, now=self._clock(), most=MAX_BATCH)):
                await self._take_off(due, None)
                expired += len(due)
        done = {f"{expired} entries expired": expired, f"{finished} entries settled": finished}
        return ", ".join(text for text, many in done.items() if many)

    async def _take_off(self, stored: Sequence[StoredEntry], by: Caller | None) -> _Effect:
        entries = [item.entry for item in stored]

        def edit(tx: Transaction, is_settled: bool) -> None:
            allowlist.remove(tx, entries, is_settled=is_settled)
            for item in stored:
                self._audit(tx, "delete", item, by)

        return await self._apply(entries, edit)

    async def _apply(self, entries: Sequence[AllowEntry], edit: Callable[[Transaction, bool], None]) -> _Effect:
        """Changes the list by ``edit``, which is told whether that settles it, and judges what its entries cover."""
        before = await self._store.scan(partial(find_covered, entries=entries))
        touched = allowlist_of(entries)

        def work(tx: Transaction) -> _Effect | None:
            since = covered_since(tx.db, touched, before.as_of, _UNIT_ROWS)
            covered = None if since is None else {**before.indicators, **since}
            if covered is None or len(covered) > _UNIT_ROWS:
                edit(tx, False)
                return None
            edit(tx, True)
            return _Effect(covered, rescreen(tx, self._names, self._screener, list(covered)))

        return await self._store.write(work) or await self._settle(entries)

    async def _settle(self, entries: Sequence[AllowEntry]) -> _Effect:
        """Judges what entries cover that are in effect already, or no longer, in units nobody has to wait for."""
        covered = (await self._store.scan(partial(find_covered, entries=entries))).indicators
        keys, changed = list(covered), 0
        units = [
            partial(rescreen, names=self._names, screener=self._screener, keys=keys[first : first + _UNIT_ROWS])
            for first in range(0, len(keys), _UNIT_ROWS)
        ]
        for first in range(0, len(units), _UNITS_AT_ONCE):
            some = units[first : first + _UNITS_AT_ONCE]
            changed += sum(await asyncio.gather(*(self._store.write(unit) for unit in some)))
        await self._store.write(partial(allowlist.settle, entries=entries))
        return _Effect(covered, changed)

    def _audit(self, tx: Transaction, action: str, item: StoredEntry, by: Caller | None) -> None:
        details = {
            "id": entry_id(item.entry),
            "value": item.entry.value,
            "note": item.note,
            "expiresAt": iso(item.expires_at) if item.expires_at is not None else None,
        }
        mask, address = (by.mask, by.address) if by else ("", "")
        said = details if by else {**details, "reason": "expired"}
        ledger.append(tx, self._audit_secret, ledger.Act(action, "allowlist", mask, address, said))


def _checked(claims: Sequence[AllowClaim | list[Problem]], now: int, mask: str) -> list[StoredEntry]:
    """What is to be stored; InvalidInput with everything that is wrong, by the position of its claim."""
    wanted: list[StoredEntry] = []
    problems: list[Problem] = []
    for index, claim in enumerate(claims):
        made = claim if isinstance(claim, list) else _check(claim, now, mask)
        if isinstance(made, list):
            problems += [problem._replace(position=index) for problem in made]
        else:
            wanted.append(made)
    if problems:
        first = problems[0]
        raise InvalidInput(f"item {first.position}, {first.field}: {first.reason}", problems)
    return wanted


def _check(claim: AllowClaim, now: int, mask: str) -> StoredEntry | list[Problem]:
    problems: list[Problem] = []
    entry: AllowEntry | None = None
    expires_at: int | None = None
    try:
        entry = read_entry(claim.value)
    except InvalidIndicator as error:
        problems.append(Problem("value", error.reason))
    try:
        expires_at = expiry_time(claim.expires_at, now)
    except ValueError as error:
        problems.append(Problem("expiresAt", str(error)))
    if entry is None or problems:
        return problems
    return StoredEntry(0, entry, claim.note or None, now, mask, expires_at)


def _counts(entries: Iterable[AllowEntry], covered: Mapping[bytes, Indicator]) -> dict[AllowEntry, int]:
    """How many of the covered indicators each entry covers."""
    return {entry: sum(map(allowlist_of([entry]).covers, covered.values())) for entry in entries}
