"""Databases of released schemas open, and everything in them answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from tests.clock import Clock
from tests.storage.conftest import Database
from tests.storage.make_released import CLAIMS, FOLDER, SECRET
from threatcloud.domain.access import Scope
from threatcloud.domain.audit import verify_chain
from threatcloud.domain.indicator import Indicator, IndicatorType, indicator_key
from threatcloud.domain.report import Role
from threatcloud.services.secrets import load_secret
from threatcloud.storage import agents, facts, feeds, idempotency, indicators, jobs, keys, ledger, rollups
from threatcloud.storage.migrate import migrations
from threatcloud.storage.search import Filters, Place, Sort, count, search

RELEASED = sorted(FOLDER.glob("*.db.zst"))
KNOWN = Indicator(IndicatorType.IP, "91.240.118.7")


@pytest.fixture(params=RELEASED, ids=lambda item: item.name)
def released(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Database]:
    (tmp_path / "released.db").write_bytes(zstandard.ZstdDecompressor().decompress(request.param.read_bytes()))
    database = Database(tmp_path / "released.db", clock)
    yield database
    database.close()


def test_no_table_is_empty(released: Database) -> None:
    """A table without rows would not be tested here. Later steps have made others since."""
    later = "".join(step.sql for step in migrations()[len(RELEASED) :])
    tables = [row[0] for row in released.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    tables = [name for name in tables if f"CREATE TABLE {name} " not in later]
    assert len(tables) >= 20
    assert [name for name in tables if not released.value(f'SELECT count(*) FROM "{name}"')] == []


def test_indicators_answer(released: Database) -> None:
    state = released.find(*KNOWN)
    assert state is not None
    assert (state.indicator, state.category, state.country) == (KNOWN, "bruteforce", "HK")
    assert state.metadata is not None
    assert state.metadata["mitreIds"] == ["T1110"]
    assert released.read(lambda db: indicators.related(db, state.id)) == [("91.240.0.0/20", "ip", "related")]
    found = released.scan(lambda db: search(db, Filters(), Sort.UPDATED, Place(None, 0, 200), released.names, 0))
    assert {item.indicator.value for item in found} >= {claim.value for claim in CLAIMS}
    assert len(found) == released.scan(lambda db: count(db, Filters())) == 13
    assert all(item.id == indicator_key(*item.indicator) for item in found)


def test_facts_answer(released: Database) -> None:
    for value, sightings, evidence in (("91.240.118.7", 2, 2), ("91.241.0.1", 1, 1)):
        state = released.find(IndicatorType.IP, value)
        assert state is not None
        listed = released.ask(facts.list_sightings, state.pk, released.names, None, 0, 50)
        assert len(listed) == released.ask(facts.count_sightings, state.pk) == sightings
        assert len(released.ask(facts.evidence_of, [state.pk], released.names)[state.pk]) == evidence


def test_feeds_answer(released: Database) -> None:
    for name in ("ip-blocklist", "domain-blocklist"):
        saved = released.ask(feeds.load_snapshot, name)
        assert saved is not None
        text = zstandard.ZstdDecompressor().decompress(saved.body_zstd)
        assert text.startswith(b"# Threat Cloud ")
    body = released.scan(lambda db: feeds.render_list(db, IndicatorType.IP, 30, None, hosts_only=False))
    saved = released.ask(feeds.load_snapshot, "ip-blocklist")
    assert saved is not None
    assert (saved.entries, saved.fingerprint) == (body.entries, body.fingerprint)
    newest = released.scan(feeds.newest_release)
    assert newest is not None
    assert newest.seq == released.scan(feeds.last_change)
    changes = released.scan(lambda db: feeds.changes_between(db, 0, newest.seq))
    hosts = released.scan(lambda db: feeds.listed_hosts(db, IndicatorType.IP, 30))
    assert sorted(value for kind, value in changes.added if kind == "ip") == sorted(hosts)


def test_the_ledger_holds(released: Database, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    secret = load_secret(path)
    verdict = released.scan(lambda db: verify_chain(secret.audit, ledger.walk(db)))
    assert (verdict.entries, verdict.problem) == (14, None)


def test_everything_else_answers(released: Database) -> None:
    ((_, key),) = released.scan(keys.all_keys)
    assert (key.scopes, key.role) == (frozenset({Scope.READ, Scope.WRITE}), Role.AGENT)
    assert (
        released.scan(lambda db: agents.find(db, "agent-1")) == released.scan(lambda db: agents.page(db, "", 0, 9))[0]
    )
    assert [run.name for run in released.scan(jobs.last_runs)] == ["decay"]
    assert released.scan(lambda db: idempotency.find(db, "local", "first-try", 0)) is not None
    assert sum(cell.indicators for cell in released.scan(rollups.totals)) == 13
    assert released.scan(rollups.count_sources) == 4


def test_it_can_be_written_to(released: Database) -> None:
    last = released.value("SELECT max(updated_at) FROM indicator")
    assert released.write(lambda tx: tx.now) > last
