"""A default list that is edited says what one that is read as a whole says."""

import pytest

from tests.clock import NOW
from tests.services.conftest import System
from threatcloud.domain.feed import plain_header
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.list_text import Head, ListText
from threatcloud.services import kept_list
from threatcloud.services.kept_list import KeptList
from threatcloud.storage import default_list, feed_log

IP = IndicatorType.IP


@pytest.fixture
def kept(system: System) -> KeptList:
    system.report("91.240.118.7", "91.240.118.8", "bad-login.xyz")
    return system.kept[IP]


def check(system: System, kept: KeptList) -> set[str]:
    """What is listed, by the list that was edited and one that is read as a whole."""
    edited: ListText = system.run(kept.read(NOW))
    whole = system.run(system.store.scan(lambda db: default_list.render(db, Head(IP, NOW)))).text
    assert sorted(edited.lines.splitlines()) == sorted(whole.lines.splitlines())
    assert edited.members == whole.members
    assert edited.ends[-1:] == whole.ends[-1:]
    return set(edited.lines.decode().split())


def test_who_comes_and_leaves(system: System, kept: KeptList) -> None:
    assert check(system, kept) == {"91.240.118.7", "91.240.118.8"}
    system.report("91.240.118.9", "worse-login.xyz")
    assert check(system, kept) == {"91.240.118.7", "91.240.118.8", "91.240.118.9"}
    system.leave("91.240.118.7")
    assert check(system, kept) == {"91.240.118.8", "91.240.118.9"}
    system.report("91.240.118.7")
    assert check(system, kept) == {"91.240.118.7", "91.240.118.8", "91.240.118.9"}


def test_what_comes_and_leaves_again_between_two_readings_changes_nothing(system: System, kept: KeptList) -> None:
    before = system.run(kept.read(NOW))
    system.report("91.240.118.9")
    system.leave("91.240.118.9")
    assert system.run(kept.read(NOW)) is before


def test_what_was_never_told_is_seen_when_the_list_is_read_as_a_whole(system: System, kept: KeptList) -> None:
    """Nothing but reading shows this, which is in no log: so the others are edits."""
    before = system.run(kept.read(NOW))
    system.run(system.store.write(lambda tx: tx.db.run("UPDATE indicator SET shared = 0 WHERE value = '91.240.118.8'")))
    assert system.run(kept.read(NOW)) is before
    assert system.run(kept.read(NOW, whole=True)).lines == b"91.240.118.7\n"


@pytest.mark.parametrize(("limit", "most"), [("MAX_CHANGES", 1), ("MAX_REMOVED", 1)])
def test_where_much_has_changed_the_list_is_read_as_a_whole(
    system: System, kept: KeptList, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(kept_list, limit, most)
    system.report("91.240.118.9")
    system.run(kept.read(NOW))
    system.run(system.store.write(lambda tx: tx.db.run("UPDATE indicator SET shared = 0 WHERE value = '91.240.118.9'")))
    system.leave("91.240.118.7", "91.240.118.8")
    assert system.run(kept.read(NOW)).lines == b""


def test_an_erasure_has_the_list_read_as_a_whole(system: System, kept: KeptList) -> None:
    system.run(kept.read(NOW))
    system.run(system.store.write(feed_log.raise_to_now))
    system.run(system.store.write(lambda tx: tx.db.run("UPDATE indicator SET shared = 0 WHERE value = '91.240.118.8'")))
    assert system.run(kept.read(NOW)).lines == b"91.240.118.7\n"


def test_a_list_is_headed_with_when_it_was_written(system: System, kept: KeptList) -> None:
    first: ListText = system.run(kept.read(NOW))
    assert first.text == plain_header(IP, NOW, 2) + first.lines
    assert system.run(kept.read(NOW + 5_000)) is first
    system.report("91.240.118.9")
    second: ListText = system.run(kept.read(NOW + 5_000))
    assert second.text == plain_header(IP, NOW + 5_000, 3) + second.lines
