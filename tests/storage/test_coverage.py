"""Finding what entries of the allowlist cover: what the statements narrow down to misses nothing the list covers."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clock import NOW, Clock
from tests.engines import Engine
from tests.storage.conftest import Database, make_state
from threatcloud.domain.allow_entry import allowlist_of, read_entry
from threatcloud.domain.indicator import Indicator, detect, indicator_key
from threatcloud.storage.coverage import covered_since, find_covered

_V4 = [
    f"{first}.{second}.{third}.{fourth}"
    for first in (9, 91)
    for second in (1, 24, 240)
    for third, fourth in ((0, 1), (24, 9), (240, 91))
]
_TEXTS = """
91.24.24.0/24 91.24.24.0/25 91.240.24.0/24 91.240.24.0/25 91.240.24.0/30
91.0.0.0/8 91.240.0.0/16 0.0.0.0/0 91.240.0.0/32
::/0 2001:db8::/32 2a00:1::/48 2a00:1::1 2a00:1:0:1:: 2a00::1
http://91.240.24.9/x http://u@91.240.24.9/x http://91.240.24.9:81/x http://u:p@91.1.0.1:8080/x
http://[2a00:1::1]/x http://u@[2a00::1]:81/x
bad.xyz a.bad.xyz b.a.bad.xyz abad.xyz bad.xyz.org xbad.org 91.bad.xyz
http://bad.xyz/ https://u@a.bad.xyz:81/x?y=bad.xyz http://good.org/bad.xyz ftp://abad.xyz/
bob@bad.xyz bob@a.bad.xyz bob@abad.xyz bad.xyz@good.org
00000000000000000000000000000000 1111111111111111111111111111111111111111 CVE-2021-44228
"""
STORED = [detect(text) for text in (*_V4, *_TEXTS.split())]
_OTHERS = """
91.240.24.8 91.240.24.0/29 91.240.16.0/20 91.240.0.0/12 9.0.0.0/9 2a00::/16 2a00:1::/33 fc00::/7
*.bad.xyz *.a.bad.xyz *.good.org c.b.a.bad.xyz *.d.a.bad.xyz good.org http://bad.xyz/y 22222222222222222222222222222222
"""
_ALLOWABLE = [indicator.value for indicator in STORED if not indicator.value.endswith("/0")]
VALUES = st.sampled_from([*_ALLOWABLE, *_OTHERS.split()])


@pytest.fixture(scope="module")
def stored(module_engine: Engine) -> Iterator[Database]:
    database = _database(module_engine)
    yield database
    database.close()


def _database(engine: Engine) -> Database:
    database = Database(engine.place("test.db"), Clock())
    states = [
        make_state(pk)._replace(id=indicator_key(*indicator), indicator=indicator, updated_at=NOW + pk)
        for pk, indicator in enumerate(STORED, 1)
    ]
    database.insert(*states)
    return database


@given(texts=st.lists(VALUES, min_size=1, max_size=4))
def test_all_that_the_list_covers_is_found_and_nothing_else(stored: Database, texts: list[str]) -> None:
    entries = [read_entry(text) for text in texts]
    found = stored.scan(lambda db: find_covered(db, entries))
    expected = {indicator for indicator in STORED if allowlist_of(entries).covers(indicator)}
    assert set(found.indicators.values()) == expected
    assert {indicator_key(*indicator) for indicator in expected} == found.indicators.keys()
    assert found.as_of == NOW + len(STORED)


def test_what_came_since_is_found(stored: Database) -> None:
    listed = allowlist_of([read_entry("91.240.24.0/24")])

    def since(after: int, most: int) -> set[Indicator] | None:
        found = stored.scan(lambda db: covered_since(db, listed, after, most))
        return None if found is None else set(found.values())

    assert since(NOW + len(STORED), 0) == set()
    assert since(NOW, len(STORED)) == {indicator for indicator in STORED if listed.covers(indicator)}
    assert since(NOW, len(STORED) - 1) is None
    place = next(pk for pk, indicator in enumerate(STORED, 1) if indicator.value == "91.240.24.9")
    assert detect("91.240.24.9") in (since(NOW + place - 1, len(STORED)) or set())
    assert detect("91.240.24.9") not in (since(NOW + place, len(STORED)) or set())


def test_a_hundred_entries_are_one_search(stored: Database) -> None:
    texts = [f"91.240.{number}.0/24" for number in range(50)] + [f"*.a{number}.xyz" for number in range(49)]
    entries = [read_entry(text) for text in (*texts, "*.bad.xyz")]
    found = stored.scan(lambda db: find_covered(db, entries)).indicators
    assert set(found.values()) == {indicator for indicator in STORED if allowlist_of(entries).covers(indicator)}
