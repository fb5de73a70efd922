"""Sources and reporters: small tables whose names are kept in memory, since every fact refers to them."""

from collections.abc import Iterable
from typing import NamedTuple

from threatcloud.domain.report import Role
from threatcloud.storage.driver import Connection, Transaction


class Reporter(NamedTuple):
    """Who speaks: ``key:<lineage>``, ``block:<network>`` or ``feed:<source>``, with the role it speaks in."""

    pk: int
    name: str
    role: Role


class Names:
    """Row numbers and names of sources and reporters, both ways. Rows are only ever added.

    Entries made by a unit that then rolls back are dropped with ``forget_uncommitted`` by re-reading: a name is
    trusted from the table, never from memory alone, when it is first used for writing.
    """

    def __init__(self) -> None:
        self._source_by_pk: dict[int, str] = {}
        self._source_pk: dict[str, int] = {}
        self._reporter_by_pk: dict[int, Reporter] = {}
        self._reporter_by_name: dict[str, Reporter] = {}

    def load(self, db: Connection) -> None:
        """Reads both tables."""
        self._source_pk = {name: pk for pk, name in db.rows("SELECT pk, name FROM source")}
        self._source_by_pk = {pk: name for name, pk in self._source_pk.items()}
        reporters = [
            Reporter(pk, name, Role(role)) for pk, name, role in db.rows("SELECT pk, name, role FROM reporter")
        ]
        self._reporter_by_pk = {reporter.pk: reporter for reporter in reporters}
        self._reporter_by_name = {reporter.name: reporter for reporter in reporters}

    def source(self, pk: int) -> str:
        """The name of a source."""
        return self._source_by_pk[pk]

    def source_pk(self, name: str) -> int:
        """The row number of a source that exists."""
        return self._source_pk[name]

    def reporter(self, pk: int) -> Reporter:
        """The reporter of a row number."""
        return self._reporter_by_pk[pk]

    def ensure_sources(self, tx: Transaction, names: Iterable[str]) -> None:
        """Makes sure that the sources exist, in the table and here."""
        for name in set(names):
            pk = self._source_pk.get(name)
            if pk is not None and tx.db.row("SELECT 1 FROM source WHERE pk = ?", (pk,)):
                continue
            tx.db.run("INSERT INTO source (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            row = tx.db.row("SELECT pk FROM source WHERE name = ?", (name,))
            assert row is not None
            self._source_pk[name] = row[0]
            self._source_by_pk[row[0]] = name

    def ensure_reporter(self, tx: Transaction, name: str, role: Role) -> Reporter:
        """The reporter of this name, made when it is new."""
        known = self._reporter_by_name.get(name)
        if known is not None and tx.db.row("SELECT 1 FROM reporter WHERE pk = ?", (known.pk,)):
            return known
        tx.db.run("INSERT INTO reporter (name, role) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, role.value))
        row = tx.db.row("SELECT pk, role FROM reporter WHERE name = ?", (name,))
        assert row is not None
        reporter = Reporter(row[0], name, Role(row[1]))
        self._reporter_by_pk[reporter.pk] = reporter
        self._reporter_by_name[name] = reporter
        return reporter
