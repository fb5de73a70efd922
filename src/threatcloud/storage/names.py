"""Small tables kept in memory, since every fact or look-up refers to them: sources, reporters, networks, allowlist."""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeVar

from threatcloud.domain.network_map import NetworkMap
from threatcloud.domain.report import Role
from threatcloud.storage.allowlist import CurrentAllowlist
from threatcloud.storage.driver import Connection, Transaction

#: Announced when a known reporter speaks in another role.
TOPIC: Final = "names"
#: Lists of sources that are kept decoded: most indicators share a few.
_MAX_LISTS: Final = 10_000


class UnknownName(KeyError):
    """A row number that another process has given, and that was not read yet."""


T = TypeVar("T")


class _Known(dict[int, T]):
    """By row number."""

    def __missing__(self, pk: int) -> T:
        raise UnknownName(pk)


class Reporter(NamedTuple):
    """Who speaks: ``key:<lineage>``, ``block:<network>`` or ``feed:<source>``, with the role it speaks in."""

    pk: int
    name: str
    role: Role


class Names:
    """Row numbers and names of sources and reporters, both ways. Rows are only ever added.

    The unit that added one may have rolled back, and its row number be another's by now: for writing, a name counts
    only when the table has it under that number.
    """

    def __init__(self, map_memory: memoryview | None = None) -> None:
        self._source_by_pk: _Known[str] = _Known()
        self._source_pk: dict[str, int] = {}
        self._reporter_by_pk: _Known[Reporter] = _Known()
        self._reporter_by_name: dict[str, Reporter] = {}
        #: Networks that are stored, or may have been: more do no harm.
        self.networks = NetworkMap(map_memory)
        self.allowlist = CurrentAllowlist()
        self._lists: dict[str, tuple[str, ...]] = {}
        self._texts: dict[tuple[str, ...], str] = {}
        #: The last rows of both tables that ``follow`` has seen.
        self._followed = (0, 0)
        #: The last indicator whose network was read.
        self._last_network = 0

    def load(self, db: Connection) -> None:
        """Reads sources, reporters and networks."""
        self.reload(db)
        self._read_networks(db)

    def reload(self, db: Connection) -> None:
        """Reads sources and reporters."""
        self._read_after(db, (0, 0))

    def follow(self, db: Connection) -> None:
        """Reads the sources and reporters that another process has added; to be called at the start of a transaction,
        so that it knows every name its rows refer to."""
        row = db.row("SELECT (SELECT max(pk) FROM source), (SELECT max(pk) FROM reporter)")
        assert row is not None
        if (row[0] or 0) > self._followed[0] or (row[1] or 0) > self._followed[1]:
            self._read_after(db, self._followed)

    def follow_all(self, db: Connection) -> None:
        """As ``follow``, and the networks: where the other process has no memory in common with this one."""
        self.follow(db)
        row = db.row("SELECT max(indicator) FROM network")
        if row is not None and (row[0] or 0) > self._last_network:
            self._read_networks(db)

    def _read_networks(self, db: Connection) -> None:
        """Reads the networks of indicators after the last known one: a new network is a new indicator."""
        for packed, pk in db.rows("SELECT packed, indicator FROM network WHERE indicator > ?", (self._last_network,)):
            self.networks.add(packed)
            self._last_network = max(self._last_network, pk)

    def _read_after(self, db: Connection, known: tuple[int, int]) -> None:
        """Reads the rows of both tables after these."""
        last_source, last_reporter = known
        for pk, name in db.rows("SELECT pk, name FROM source WHERE pk > ? ORDER BY pk", (last_source,)):
            self._source_pk[name] = last_source = pk
            self._source_by_pk[pk] = name
        for pk, name, role in db.rows("SELECT pk, name, role FROM reporter WHERE pk > ? ORDER BY pk", (last_reporter,)):
            last_reporter = pk
            self._reporter_by_pk[pk] = self._reporter_by_name[name] = Reporter(pk, name, Role(role))
        self._followed = max(known[0], last_source), max(known[1], last_reporter)

    def source(self, pk: int) -> str:
        """The name of a source."""
        return self._source_by_pk[pk]

    def source_pk(self, name: str) -> int:
        """The row number of a source that exists."""
        return self._source_pk[name]

    def sources_of(self, text: str) -> tuple[str, ...]:
        """The names of a stored list of sources."""
        known = self._lists.get(text)
        if known is None:
            known = tuple([self.source(int(pk)) for pk in text.split(",")])
            self._remember_list(text, known)
        return known

    def sources_text(self, sources: tuple[str, ...]) -> str:
        """The stored form of a list of sources that exist."""
        known = self._texts.get(sources)
        if known is None:
            known = ",".join([str(self.source_pk(source)) for source in sources])
            self._remember_list(known, sources)
        return known

    def _remember_list(self, text: str, sources: tuple[str, ...]) -> None:
        if len(self._lists) >= _MAX_LISTS:
            self._lists.clear()
            self._texts.clear()
        self._lists[text] = sources
        self._texts[sources] = text

    def reporter(self, pk: int) -> Reporter:
        """The reporter of a row number."""
        return self._reporter_by_pk[pk]

    def ensure_sources(self, tx: Transaction, names: Iterable[str]) -> None:
        """Makes sure that the sources exist, in the table and here."""
        for name in set(names):
            pk = self._source_pk.get(name)
            if pk is not None and tx.db.row("SELECT 1 FROM source WHERE pk = ? AND name = ?", (pk, name)):
                continue
            tx.db.run("INSERT INTO source (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            row = tx.db.row("SELECT pk FROM source WHERE name = ?", (name,))
            assert row is not None
            self._source_pk[name] = row[0]
            self._source_by_pk[row[0]] = name
            self._lists.clear()
            self._texts.clear()

    def ensure_reporter(self, tx: Transaction, name: str, role: Role) -> Reporter:
        """The reporter of this name in the role it has now, which its earlier reports take on, too."""
        known = self._reporter_by_name.get(name)
        wanted = Reporter(known.pk if known else 0, name, role)
        if known == wanted and tx.db.row("SELECT 1 FROM reporter WHERE pk = ? AND name = ? AND role = ?", wanted):
            return wanted
        if known is not None:
            tx.announce(TOPIC)
        tx.db.run(
            "INSERT INTO reporter (name, role) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET role = excluded.role",
            (name, role.value),
        )
        row = tx.db.row("SELECT pk, role FROM reporter WHERE name = ?", (name,))
        assert row is not None
        reporter = Reporter(row[0], name, Role(row[1]))
        self._reporter_by_pk[reporter.pk] = reporter
        self._reporter_by_name[name] = reporter
        return reporter
