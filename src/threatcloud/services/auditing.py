"""The audit ledger: pages of it, its check, and reads entered in aggregate so that they cost no write each."""

from collections import Counter
from collections.abc import Mapping

from threatcloud.domain.access import Caller
from threatcloud.domain.audit import Verdict, verify_chain
from threatcloud.domain.cursor import make_cursor, read_cursor
from threatcloud.domain.times import MINUTE_MS, iso
from threatcloud.services.lookup import Page
from threatcloud.storage import ledger
from threatcloud.storage.driver import Connection, Transaction
from threatcloud.storage.store import Clock, Store

MAX_WAITING_READS = 10_000
MANY = "(many)"


#: Minute since the epoch, route, masked key, address.
Read = tuple[int, str, str, str]


class Auditing:
    """Reads the ledger and gathers reads for it."""

    def __init__(self, store: Store, secret: bytes, clock: Clock) -> None:
        self._store = store
        self._secret = secret
        self._clock = clock
        self._reads: Counter[Read] = Counter()

    def note_read(self, route: str, caller: Caller) -> None:
        """Counts one read; it is entered with others of its minute, route, key and address by ``flush``."""
        self._count((self._clock() // MINUTE_MS, route, caller.mask, caller.address), 1)

    def _count(self, read: Read, times: int) -> None:
        if len(self._reads) >= MAX_WAITING_READS and read not in self._reads:
            read = (*read[:3], MANY)  # a flood from that many addresses is one entry a route and key
        self._reads[read] += times

    def take_reads(self) -> Mapping[Read, int]:
        """What was counted since, for another process to enter; here it is forgotten."""
        taken, self._reads = self._reads, Counter()
        return taken

    def add_reads(self, reads: Mapping[Read, int]) -> None:
        """Counts what another process has counted."""
        for read, times in reads.items():
            self._count(read, times)

    async def flush(self) -> int:
        """Enters the counted reads into the ledger; gives the number of entries. A kill loses a minute at most."""
        waiting = self.take_reads()
        if not waiting:
            return 0

        def work(tx: Transaction) -> None:
            for (minute, route, api_key, ip), count in sorted(waiting.items()):
                details = {"count": count, "minute": iso(minute * MINUTE_MS)}
                ledger.append(tx, self._secret, ledger.Act("query", route, api_key, ip, details))

        await self._store.write(work)
        return len(waiting)

    async def page(self, action: str | None, since: int, page: int, limit: int, cursor: str | None) -> Page:
        """One page of entries, newest first."""
        before = read_cursor(cursor, 1)[0] if cursor else None
        offset = 0 if cursor else (page - 1) * limit

        def read(db: Connection) -> Page:
            first = ledger.first_since(db, since)
            entries = ledger.page(db, action, first, before, offset, limit)
            more = make_cursor(entries[-1].seq) if len(entries) == limit else None
            return Page(entries, ledger.count(db, action, first), more)

        return await self._store.scan(read)

    async def verify(self) -> Verdict:
        """Checks the whole chain."""
        return await self._store.scan(lambda db: verify_chain(self._secret, ledger.walk(db)))
