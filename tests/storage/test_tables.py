"""The small tables: keys, agents, kept answers, jobs, imports, networks, labels and relations."""

import json
from typing import Any

import pytest

from tests.clock import NOW, Clock
from tests.storage.conftest import Database, make_state
from threatcloud.domain.access import ALL_SCOPES, KeyInfo, Scope
from threatcloud.domain.address import packed, parse_network
from threatcloud.domain.indicator import IndicatorType, indicator_key
from threatcloud.domain.report import Role, Severity
from threatcloud.domain.state import Status
from threatcloud.storage import agents, idempotency, imports, indicators, jobs, keys
from threatcloud.storage.agents import Agent
from threatcloud.storage.driver import Transaction
from threatcloud.storage.idempotency import KeptAnswer
from threatcloud.storage.jobs import JobRun

IP = IndicatorType.IP


def key(number: int, **fields: Any) -> KeyInfo:
    plain = KeyInfo(f"key_{number}", "key_0", "name", "tc_a…wxyz", ALL_SCOPES, Role.AGENT, NOW + number)
    return plain._replace(**fields)


def test_keys_come_back_oldest_first(database: Database) -> None:
    made = [key(2, scopes=frozenset({Scope.FEEDS})), key(1, expires_at=NOW + 9, revoked_at=NOW + 5)]
    for item in made:
        database.do(keys.add_key, item.id.encode(), item)
    assert database.scan(keys.all_keys) == [(b"key_1", made[1]), (b"key_2", made[0])]
    assert database.scan(lambda db: keys.find_key(db, "key_2")) == made[0]
    assert database.scan(lambda db: keys.find_key(db, "key_3")) is None


def test_ending_a_key_announces_it_and_keeps_the_other_end(database: Database) -> None:
    database.write(lambda tx: keys.add_key(tx, b"digest", key(1)))
    heard: list[set[str]] = []
    database.store.listen(heard.append)
    database.write(lambda tx: keys.end_key(tx, "key_1", expires_at=NOW + 9))
    database.write(lambda tx: keys.end_key(tx, "key_1", revoked_at=NOW + 5))
    assert database.scan(lambda db: keys.find_key(db, "key_1")) == key(1, expires_at=NOW + 9, revoked_at=NOW + 5)
    assert heard == [{keys.TOPIC}] * 2


def test_an_agent_is_remembered_with_what_it_did_not_say_again(database: Database) -> None:
    for agent in (
        Agent("a", "host", "1.0", NOW, None),
        Agent("a", None, "1.1", NOW + 5, "v20260307"),
        Agent("b", None, None, NOW, None),
    ):
        database.do(agents.remember, agent)
    kept = Agent("a", "host", "1.1", NOW + 5, "v20260307")
    assert database.scan(lambda db: agents.find(db, "a")) == kept
    assert database.scan(lambda db: agents.find(db, "c")) is None
    assert database.scan(lambda db: agents.page(db, None, 0, 9)) == [kept, Agent("b", None, None, NOW, None)]
    assert database.scan(lambda db: agents.page(db, "a", 0, 9)) == [Agent("b", None, None, NOW, None)]
    assert database.scan(lambda db: agents.page(db, None, 1, 9)) == [Agent("b", None, None, NOW, None)]
    assert database.scan(agents.count) == 2


def test_answers_are_kept_by_reporter_and_key_for_a_time(database: Database, clock: Clock) -> None:
    first, second = KeptAnswer(b"one", b"{}"), KeptAnswer(b"two", b"[]")
    database.write(lambda tx: idempotency.keep(tx, "key:1", "again", first))
    clock.now += 100
    database.write(lambda tx: idempotency.keep(tx, "key:2", "again", second))

    def found(reporter: str, name: str, since: int) -> KeptAnswer | None:
        return database.scan(lambda db: idempotency.find(db, reporter, name, since))

    assert (found("key:1", "again", 0), found("key:2", "again", 0)) == (first, second)
    assert found("key:1", "other", 0) is None
    assert (found("key:1", "again", NOW), found("key:1", "again", NOW + 1)) == (first, None)
    database.write(lambda tx: idempotency.keep(tx, "key:1", "again", second))
    assert found("key:1", "again", NOW + 1) == second
    clock.now += 100
    database.write(lambda tx: idempotency.forget_before(tx, NOW + 101))
    assert (found("key:1", "again", 0), found("key:2", "again", 0)) == (second, None)


def test_job_runs_are_the_last_of_each_job(database: Database) -> None:
    runs = [JobRun("b", 1, 2, "done", "x"), JobRun("a", 1, None, "failed", "y"), JobRun("b", 5, 6, "nothing to do", "")]
    for run in runs:
        database.do(jobs.record, run)
    assert database.scan(jobs.last_runs) == [runs[1], runs[2]]


def test_an_import_begins_once_and_ends(database: Database, clock: Clock) -> None:
    database.write(lambda tx: imports.begin(tx, "run", "feed:acme"))
    clock.now += 500
    database.write(lambda tx: imports.begin(tx, "run", "feed:acme"))
    database.write(lambda tx: imports.finish(tx, "run", {"rows": 5}))
    ((run, source, started, finished, summary),) = database.rows("SELECT * FROM import_run")
    assert (run, source, started, json.loads(summary)) == ("run", "feed:acme", NOW, {"rows": 5})
    assert finished > started


def test_a_state_comes_back_whole(database: Database) -> None:
    full = make_state(
        1,
        status=Status.WHITELISTED,
        reputation=99,
        category="c2",
        severity=Severity.CRITICAL,
        confidence=0.123456789,
        source="x",
        sources=("manual", "x"),
        sightings=7,
        expires_at=NOW + 1,
        next_change_at=NOW + 2,
        withheld_code="benign-list",
        withheld_list="a list",
        cloud="a cloud",
        country="DE",
        asn=4_294_967_295,
        tlp="amber",
        metadata={"ports": [22], "note": "é", "deep": {"a": [None, True, 1.5]}},
        shared=False,
        listed=False,
    )
    plain = make_state(2)
    database.insert(full, plain)
    assert [database.find(IP, item.indicator.value) for item in (full, plain)] == [full, plain]
    assert database.find(IP, "203.0.113.99") is None
    changed = full._replace(
        metadata=None, severity=None, sources=("x",), status=Status.ACTIVE, shared=True, listed=True
    )
    database.write(lambda tx: indicators.update(tx, [(full, changed)], database.names))
    assert database.find(IP, full.indicator.value) == changed
    said_again = changed._replace(sightings=9, last_seen=NOW + 5, updated_at=NOW + 5)
    database.write(lambda tx: indicators.update(tx, [(changed, said_again), (plain, plain)], database.names))
    assert database.find(IP, full.indicator.value) == said_again
    database.write(lambda tx: indicators.update(tx, [(said_again, changed)], database.names))
    found = database.scan(lambda db: indicators.find_many(db, [full.id, bytes(16), plain.id], database.names))
    assert found == {full.id: changed, plain.id: plain}
    assert database.scan(lambda db: indicators.find_many(db, [], database.names)) == {}


def test_row_numbers_go_on(database: Database) -> None:
    assert database.scan(indicators.next_pk) == 1
    database.insert(make_state(1), make_state(5))
    assert database.scan(indicators.next_pk) == 6


def test_networks_around_an_address(database: Database) -> None:
    values = ["203.0.112.0/20", "203.0.113.0/24", "203.0.0.0/16", "198.51.100.0/24"]
    made = [make_state(pk, value=value) for pk, value in enumerate(values, 1)]
    database.insert(*made)
    networks = {packed(parse_network(item.indicator.value)): item.pk for item in made}
    database.write(lambda tx: indicators.add_networks(tx, networks, database.names))
    around = [packed(parse_network(text)) for text in ("203.0.113.0/24", "203.0.112.0/20", "203.0.112.0/22")]
    found = database.scan(lambda db: indicators.containing(db, around, database.names))
    assert found == [made[0], made[1]]
    database.reopen()
    assert database.names.networks.prefixes == {112, 116, 120}


def test_relations_are_found_from_either_side(database: Database) -> None:
    ip, domain, url = make_state(1), make_state(2, IndicatorType.DOMAIN, "bad.xyz"), "http://later.xyz/"
    database.insert(ip, domain)
    later = indicator_key(IndicatorType.URL, url)
    relations = [(ip.id, domain.id, "related", 1), (ip.id, domain.id, "related", 2), (later, ip.id, "related", 1)]
    for _ in range(2):
        database.write(lambda tx: indicators.add_relations(tx, relations))

    def related(item: bytes) -> list[tuple[str, str, str]]:
        return database.scan(lambda db: indicators.related(db, item))

    assert related(ip.id) == [("bad.xyz", "domain", "related")]
    assert related(domain.id) == [(ip.indicator.value, "ip", "related")]
    database.insert(make_state(3, IndicatorType.URL, url))
    assert related(ip.id) == [("bad.xyz", "domain", "related"), (url, "url", "related")]


def test_labels_are_entered_once(database: Database) -> None:
    for _ in range(2):
        database.write(lambda tx: indicators.add_labels(tx, [("tag", "a", 1), ("tag", "a", 1), ("tag", "b", 1)]))
    assert database.value("SELECT count(*) FROM label") == 2


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_slices_for_decay_walk_the_whole_table(database: Database, rows: int) -> None:
    made = [make_state(pk * 3, next_change_at=None if pk % 3 == 0 else NOW + pk) for pk in range(1, 12)]
    database.insert(*made)
    found: list[bytes] = []
    after: int | None = 0
    steps = 0
    while after is not None:
        after, due = database.ask(indicators.due_for_decay, after, rows, NOW + 7)
        found += due
        steps += 1
    assert found == [item.id for item in made if item.next_change_at and item.next_change_at <= NOW + 7]
    assert steps == -(-11 // rows) + 1


def test_what_a_unit_announced_is_its_own(database: Database) -> None:
    def work(tx: Transaction) -> set[str]:
        tx.announce("a")
        tx.announce("a")
        return tx.topics

    assert database.write(work) == {"a"}
