"""Keys in use: made, found, revoked, rotated; and who a caller without one is."""

from pathlib import Path
from typing import Any

import pytest

from tests.clock import NOW
from tests.engines import Engine
from tests.services.conftest import System
from threatcloud.domain.access import ALL_SCOPES, KEY_PREFIX, KeyEntry, KeyInfo, Scope, parse_key_entry
from threatcloud.domain.errors import Conflict, NotFound
from threatcloud.domain.report import Role
from threatcloud.domain.times import HOUR_MS
from threatcloud.services.access import LOCAL_OPERATOR, NewKey, caller_with_key, caller_without_key
from threatcloud.services.screening import Screener

READ = frozenset({Scope.READ})


def create(system: System, **changes: Any) -> NewKey:
    wanted = {"name": "one", "scopes": READ, "role": Role.AGENT, "expires_at": None, "by": LOCAL_OPERATOR, **changes}
    made: NewKey = system.run(system.desk.create(**wanted))
    load(system)
    return made


def load(system: System) -> None:
    system.run(system.store.read(system.ring.load))


def found(system: System, key: str, at_ms: int | None = None) -> KeyInfo | None:
    return system.ring.find(key, system.clock.now if at_ms is None else at_ms)


def test_a_new_key_works_and_is_stored_only_as_a_digest(system: System, tmp_path: Path) -> None:
    new = create(system)
    assert new.key.startswith(KEY_PREFIX)
    assert len(new.key) >= len(KEY_PREFIX) + 43
    assert found(system, new.key) == new.info
    assert found(system, new.key + "x") is found(system, "") is None
    for table in ("api_key", "audit_detail", "meta"):
        assert new.key not in repr(system.rows(f"SELECT * FROM {table}"))
    system.store.close()
    for path in tmp_path.iterdir():
        assert new.key.encode() not in path.read_bytes(), path
    system.reopen()
    assert found(system, new.key) == new.info


def test_two_keys_differ(system: System) -> None:
    one, other = create(system), create(system)
    assert one.key != other.key
    assert one.info.id != other.info.id
    assert one.info.lineage == one.info.id


def test_a_key_ends_when_it_expires(system: System) -> None:
    new = create(system, expires_at=NOW + 1000)
    assert found(system, new.key, NOW + 999) == new.info
    assert found(system, new.key, NOW + 1000) is None


def test_a_revoked_key_ends_at_once_even_when_the_clock_is_put_back(system: System) -> None:
    new = create(system)
    system.clock.now -= 5 * HOUR_MS
    assert system.run(system.desk.revoke(new.info.id, LOCAL_OPERATOR)).id == new.info.id
    load(system)
    assert found(system, new.key) is None
    with pytest.raises(Conflict, match="has ended already"):
        system.run(system.desk.revoke(new.info.id, LOCAL_OPERATOR))


def rotate(system: System, old: NewKey, overlap_hours: float) -> NewKey:
    new: NewKey = system.run(system.desk.rotate(old.info.id, overlap_hours, LOCAL_OPERATOR))
    load(system)
    return new


def test_both_keys_of_a_rotation_work_for_the_overlap(system: System) -> None:
    old = create(system, scopes=ALL_SCOPES)
    new = rotate(system, old, 2.5)
    for at_ms, works in ((NOW, True), (NOW + int(2.5 * HOUR_MS) - 1, True), (NOW + int(2.5 * HOUR_MS), False)):
        assert (found(system, old.key, at_ms) is not None) is works
        assert found(system, new.key, at_ms) == new.info
    rights = ("one", old.info.id, ALL_SCOPES, Role.AGENT)
    for info in (old.info, new.info):
        assert (info.name, info.lineage, info.scopes, info.role) == rights


def test_reports_of_both_keys_count_under_one_reporter(system: System) -> None:
    old = create(system)
    newest = rotate(system, rotate(system, old, 1), 1)
    reporters = {caller_with_key(item.info, "192.0.2.1").reporter for item in (old, newest)}
    assert reporters == {f"key:{old.info.id}"}


def test_a_rotation_without_overlap_ends_the_old_key_now(system: System) -> None:
    old = create(system)
    rotate(system, old, 0)
    assert found(system, old.key) is None
    with pytest.raises(Conflict):
        rotate(system, old, 1)


def test_a_rotation_never_lengthens_a_life(system: System) -> None:
    old = create(system, expires_at=NOW + HOUR_MS)
    new = rotate(system, old, 24)
    assert found(system, old.key, NOW + HOUR_MS) is None
    assert found(system, new.key, NOW + HOUR_MS) is None
    assert new.info.expires_at == NOW + HOUR_MS


@pytest.mark.parametrize("action", ["revoke", "rotate"])
def test_an_unknown_key_is_not_found(system: System, action: str) -> None:
    more = (1.0,) if action == "rotate" else ()
    with pytest.raises(NotFound, match="there is no key key_none"):
        system.run(getattr(system.desk, action)("key_none", *more, LOCAL_OPERATOR))


def configured(engine: Engine, screener: Screener, *entries: str) -> System:
    return System(engine.place("test.db"), screener, tuple(map(parse_key_entry, entries)))


def test_keys_of_the_environment_work_and_are_not_stored(engine: Engine, screener: Screener) -> None:
    system = configured(engine, screener, "from-the-environment:read+write@honeypot")
    info = found(system, "from-the-environment")
    assert info is not None
    assert (info.scopes, info.role, info.name) == (frozenset({Scope.READ, Scope.WRITE}), Role.HONEYPOT, "TC_API_KEYS")
    assert system.rows("SELECT * FROM api_key") == []
    stored = create(system)
    assert [item.id for item in system.run(system.desk.list())] == [info.id, stored.info.id]
    for attempt in (system.desk.revoke(info.id, LOCAL_OPERATOR), system.desk.rotate(info.id, 1.0, LOCAL_OPERATOR)):
        with pytest.raises(Conflict, match="is given by TC_API_KEYS"):
            system.run(attempt)
    system.close()


def test_an_environment_key_keeps_its_id_over_a_restart(engine: Engine, screener: Screener) -> None:
    system = configured(engine, screener, "from-the-environment")
    before = found(system, "from-the-environment")
    system.entries = (KeyEntry("from-the-environment", READ, Role.COMMUNITY),)
    system.reopen()
    after = found(system, "from-the-environment")
    assert before is not None
    assert after is not None
    assert (after.id, after.role, after.scopes) == (before.id, Role.COMMUNITY, READ)
    system.entries = ()
    system.reopen()
    assert found(system, "from-the-environment") is None
    system.close()


def test_whether_there_is_any_key(system: System) -> None:
    assert not system.ring.has_any(NOW)
    create(system, expires_at=NOW + 10)
    assert system.ring.has_any(NOW)
    assert not system.ring.has_any(NOW + 10)


def test_every_change_of_a_key_is_in_the_ledger_without_the_key(system: System) -> None:
    old = create(system)
    new = rotate(system, old, 1)
    system.run(system.desk.revoke(new.info.id, LOCAL_OPERATOR))
    acts = system.rows("SELECT action, resource, api_key FROM audit_entry ORDER BY seq")
    assert acts == [(action, "key", "local") for action in ("create", "create", "update", "delete")]
    details = "".join(row[0] for row in system.rows("SELECT details FROM audit_detail"))
    assert old.key not in details
    assert new.key not in details
    assert new.info.id in details


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("198.51.100.7", "198.51.100.0/24"),
        ("198.51.100.250", "198.51.100.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:198.51.100.7", "198.51.100.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_a_caller_without_a_key_speaks_for_its_block(address: str, block: str) -> None:
    caller = caller_without_key(address)
    assert (caller.reporter, caller.role, caller.mask) == (f"block:{block}", Role.ANONYMOUS, "")
    assert caller.address == address
    assert not any(caller.may(scope) for scope in Scope)
