"""Reading a history: what an event says, which category that is, and which events are the same."""

import gzip
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.report import CATEGORIES
from threatcloud.formats.readers.found import Reject
from threatcloud.formats.readers.timeline import Event, category_of, events

TIMELINE = Path(__file__).parents[3].parent / "shared" / "data" / "timeline.jsonl.gz"


def line(**fields: Any) -> str:
    said = {"ts": "2025-02-10T06:48:29Z", "value": "206.206.78.27", "type": "ip", "source": "tweetfeed"}
    return json.dumps({**said, **fields})


def only(**fields: Any) -> Event:
    (event,) = events([line(**fields)])
    assert isinstance(event, Event)
    return event


def test_a_whole_event() -> None:
    extra = {"confidence": "75", "malware": "Cobalt Strike", "port": "4444"}
    event = only(source="threatfox", reporter="someone", tags=["c2"], ref="tweet:1", extra={**extra, "confidence": 75})
    assert event._replace(digest=b"") == Event(
        line=1,
        digest=b"",
        ts="2025-02-10T06:48:29Z",
        value="206.206.78.27",
        type="ip",
        source="threatfox",
        reporter="someone",
        category="c2",
        confidence=0.75,
        metadata={
            "tags": ["c2"],
            "ref": "tweet:1",
            "reporter": "someone",
            "malwareFamily": "Cobalt Strike",
            "port": 4444,
            "extra": {**extra, "confidence": 75},
        },
    )
    assert only().metadata == {}


@pytest.mark.parametrize(
    ("source", "kind", "tags", "extra", "category"),
    [
        ("urlhaus", "url", ["Mozi"], {"threat": "malware_download"}, "malware"),
        ("urlhaus", "url", [], {}, "malware"),
        ("c2-tracker", "ip", ["cobaltstrike"], {}, "c2"),
        ("c2-tracker", "ip", ["async"], {}, "c2"),
        ("c2-tracker", "ip", ["gophish"], {}, "phishing"),
        ("c2-tracker", "ip", ["7777botnet"], {}, "botnet"),
        ("c2-tracker", "ip", ["xmrigmonerocryptominer"], {}, "malware"),
        ("c2-tracker", "ip", ["burpsuite"], {}, None),
        ("threatfox", "ip", ["dcrat"], {"port": "443"}, "c2"),
        ("threatfox", "domain", ["clearfake"], {}, "malware"),
        ("threatfox", "domain", ["dcrat"], {"threatType": "botnet_cc"}, "c2"),
        ("openphish", "url", [], {}, "phishing"),
        ("tweetfeed", "url", ["phishing", "malware"], {}, "phishing"),
        ("tweetfeed", "ip", ["c2", "remcos"], {}, "c2"),
        ("tweetfeed", "domain", ["Lumma"], {}, "malware"),
        ("tweetfeed", "domain", ["kimsuky", "dprk"], {}, None),
        ("unheard-of", "ip", ["Hak5_Cloud-C2"], {"threat": 7}, "c2"),
    ],
)
def test_the_category_is_told_where_it_is_plain(
    source: str, kind: str, tags: list[str], extra: dict[str, Any], category: str | None
) -> None:
    assert category_of(source, kind, tags, extra) == category


def test_equal_events_of_one_time_are_several_and_the_same_in_every_reading() -> None:
    lines = [line(), line(), line(ref="x"), line(ts="2025-02-10T06:48:30Z"), "", line(ts="2025-02-10T06:48:30Z")]
    first, again = ([event.digest for event in events(lines) if isinstance(event, Event)] for _ in range(2))
    assert first == again
    assert len(set(first)) == 5
    spaced = [item.replace(": ", ":").replace(", ", ",  ") for item in lines]
    assert [event.digest for event in events(spaced) if isinstance(event, Event)] == first


@pytest.mark.parametrize("bad", ["{}", "[1]", "nonsense", line(tags="x"), line(ref=7), '{"ts":"' + "[" * 9_000])
def test_what_is_no_event_is_told_and_what_follows_is_read(bad: str) -> None:
    reject, event = events([bad, line()])
    assert isinstance(reject, Reject)
    assert (reject.line, reject.field) == (1, "line")
    assert isinstance(event, Event)


_extra = st.dictionaries(
    st.sampled_from(["port", "confidence", "malware", "threat"]),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
)


@given(st.text(max_size=20), st.lists(st.text(max_size=80), max_size=60), _extra)
def test_whatever_a_feed_says_is_read(source: str, tags: list[str], extra: dict[str, Any]) -> None:
    event = only(source=source, tags=tags, extra=extra)
    assert event.category in {*CATEGORIES, None}
    assert event.confidence is None or 0 <= event.confidence <= 1
    assert all(0 < len(tag) <= 64 for tag in event.metadata.get("tags", []))
    assert 0 < event.metadata.get("port", 1) < 65_536


@pytest.mark.real_data
def test_a_real_history_is_read_whole() -> None:
    if not TIMELINE.exists():
        pytest.skip("the public threat data is not beside the checkout")
    with gzip.open(TIMELINE, "rt", encoding="utf-8") as file:
        found = list(events(islice(file, 20_000)))
    assert not [item for item in found if isinstance(item, Reject)]
    assert len({item.digest for item in found if isinstance(item, Event)}) == 20_000
    categories = Counter(item.category for item in found if isinstance(item, Event))
    assert categories[None] < 8_000
