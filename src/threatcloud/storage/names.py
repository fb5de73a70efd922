"""Small tables kept in memory, since every fact or look-up refers to them: sources, reporters, networks, allowlist."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from threatcloud.domain.network_map import NetworkMap
from threatcloud.domain.report import Role
from threatcloud.storage.allowlist import CurrentAllowlist
from threatcloud.storage.driver import Connection, Transaction

#: Lists of sources that are kept decoded: most indicators share a few.
_MAX_LISTS: Final = 10_000


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

    def __init__(self) -> None:
        self._source_by_pk: dict[int, str] = {}
        self._source_pk: dict[str, int] = {}
        self._reporter_by_pk: dict[int, Reporter] = {}
        self._reporter_by_name: dict[str, Reporter] = {}
        #: Networks that are stored, or may have been: more do no harm.
        self.networks = NetworkMap()
        self.allowlist = CurrentAllowlist()
        self._lists: dict[str, tuple[str, ...]] = {}
        self._texts: dict[tuple[str, ...], str] = {}

    def load(self, db: Connection) -> None:
        """Reads both tables."""
        self._source_pk = {name: pk for pk, name in db.rows("SELECT pk, name FROM source")}
        self._source_by_pk = {pk: name for name, pk in self._source_pk.items()}
        reporters = [
            Reporter(pk, name, Role(role)) for pk, name, role in db.rows("SELECT pk, name, role FROM reporter")
        ]
        self._reporter_by_pk = {reporter.pk: reporter for reporter in reporters}
        self._reporter_by_name = {reporter.name: reporter for reporter in reporters}
        for (packed,) in db.rows("SELECT packed FROM network"):
            self.networks.add(packed)

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
