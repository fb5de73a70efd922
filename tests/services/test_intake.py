"""Claims: what is taken, what is refused with which words, and every limit on both of its sides."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clock import NOW
from tests.services.conftest import System, claim
from threatcloud.domain.errors import Conflict, InvalidInput, NotFound, Problem
from threatcloud.domain.indicator import MAX_VALUE_BYTES, IndicatorType, indicator_key, public_id
from threatcloud.domain.report import CATEGORIES, Severity, SightingKind
from threatcloud.domain.times import HOUR_MS, iso
from threatcloud.services.access import LOCAL_OPERATOR, caller_without_key
from threatcloud.services.intake import (
    MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH,
    MAX_RELATED,
    TLP_LABELS,
    Claim,
    Intake,
    checked_metadata,
    observation_time,
)
from threatcloud.services.recording import MAX_TAG_LENGTH, Prepared
from threatcloud.services.reporting import MAX_IDEMPOTENCY_KEY, Retry
from threatcloud.services.screening import Screener

IP = "91.240.118.7"


def prepared(screener: Screener, **said: Any) -> Prepared:
    made = Intake(screener).prepare(claim(IP)._replace(**said), NOW)
    assert isinstance(made, Prepared), made
    return made


def problems(screener: Screener, **said: Any) -> list[Problem]:
    made = Intake(screener).prepare(claim(IP)._replace(**said), NOW)
    assert isinstance(made, list), made
    return made


def test_a_claim_becomes_a_report(screener: Screener) -> None:
    made = prepared(
        screener, value="91[.]240[.]118[.]7", timestamp=iso(NOW - 5), expires_at=iso(NOW + 5), tlp="TLP:RED"
    )
    report = made.report
    assert report.indicator == (IndicatorType.IP, IP)
    assert report.key == indicator_key(IndicatorType.IP, IP)
    assert (report.source, report.category, report.severity, report.confidence) == ("manual", "c2", Severity.HIGH, 0.9)
    assert (report.observed_at, report.expires_at, report.tlp) == (NOW - 5, NOW + 5, "red")
    assert made.screened.country == "HK"


def test_defaults(screener: Screener) -> None:
    report = Intake(screener).prepare(Claim("domain", "bad.xyz", "x"), NOW)
    assert isinstance(report, Prepared)
    assert report.report[4:] == (NOW, SightingKind.POSITIVE, None, None, 0.5, {}, None, None)


def test_an_anonymised_address_is_told_apart_from_the_network(screener: Screener) -> None:
    assert prepared(screener, value="91.240.0.0").report.anonymised
    assert not prepared(screener, value="91.240.0.0/16").report.anonymised


@pytest.mark.parametrize(
    ("field", "said", "reason"),
    [
        ("type", {"type": "hostname"}, "must be one of ip, domain, hash, url, email, cve"),
        ("value", {"value": "no address"}, ""),
        ("value", {"value": ""}, ""),
        ("source", {"source": "two words"}, "must be 1-64 characters"),
        ("source", {"source": "x" * 65}, "must be 1-64 characters"),
        ("category", {"category": "spam"}, "must be one of malware, botnet"),
        ("severity", {"severity": "severe"}, "must be one of low, medium"),
        ("confidence", {"confidence": 1.01}, "from 0.0 to 1.0"),
        ("confidence", {"confidence": -0.01}, "from 0.0 to 1.0"),
        ("confidence", {"confidence": float("nan")}, "from 0.0 to 1.0"),
        ("timestamp", {"timestamp": "yesterday"}, "ISO 8601"),
        ("timestamp", {"timestamp": iso(NOW + HOUR_MS + 1)}, "more than an hour in the future"),
        ("expiresAt", {"expires_at": iso(NOW)}, "must lie in the future"),
        ("expiresAt", {"expires_at": "never"}, "ISO 8601"),
        ("tlp", {"tlp": "blue"}, "must be one of clear"),
        ("metadata", {"metadata": {"port": 65_536}}, "whole numbers from 0 to 65535"),
        ("metadata", {"metadata": {"ports": [22, -1]}}, "whole numbers from 0 to 65535"),
        ("metadata", {"metadata": {"port": True}}, "whole numbers from 0 to 65535"),
        ("metadata", {"metadata": {"mitreId": "Brute Force"}}, "ATT&CK technique ids"),
        ("metadata", {"metadata": {"mitreIds": ["T1110", 7]}}, "ATT&CK technique ids"),
        ("metadata", {"metadata": {"tag": ""}}, "texts of 1 to 64 characters"),
        ("metadata", {"metadata": {"tags": ["x" * (MAX_TAG_LENGTH + 1)]}}, "texts of 1 to 64 characters"),
        ("metadata", {"metadata": {"tags": [["x"]]}}, "texts of 1 to 64 characters"),
    ],
)
def test_what_is_refused(screener: Screener, field: str, said: dict[str, Any], reason: str) -> None:
    (problem,) = problems(screener, **said)
    assert problem.field == field
    assert reason in problem.reason
    assert problem.reason
    assert "\n" not in problem.reason


def test_every_problem_of_a_claim_is_named(screener: Screener) -> None:
    found = problems(screener, type="x", source="", category="x", severity="x", confidence=9.0, tlp="x", timestamp="x")
    assert [problem.field for problem in found] == [
        "type",
        "source",
        "category",
        "severity",
        "confidence",
        "timestamp",
        "tlp",
    ]


def test_words_of_the_contract_are_taken(screener: Screener) -> None:
    for category in CATEGORIES:
        assert prepared(screener, category=category).report.category == category
    for severity in Severity:
        assert prepared(screener, severity=severity.word).report.severity is severity
    for label in TLP_LABELS:
        assert prepared(screener, tlp=label).report.tlp == ("clear" if label == "white" else label)


@pytest.mark.parametrize(("ahead_ms", "good"), [(-HOUR_MS, True), (0, True), (HOUR_MS, True), (HOUR_MS + 1, False)])
def test_observation_times(ahead_ms: int, good: bool) -> None:
    assert observation_time(None, NOW) == NOW
    if good:
        assert observation_time(iso(NOW + ahead_ms), NOW) == NOW + ahead_ms
    else:
        with pytest.raises(ValueError, match="more than an hour in the future"):
            observation_time(iso(NOW + ahead_ms), NOW)


def nested(levels: int, lists: bool) -> dict[str, Any]:
    """An object so many levels deep; ``lists``: below the first, of lists."""
    value: Any = [] if lists and levels > 1 else {}
    for _ in range(levels - 2):
        value = [value] if lists else {"a": value}
    return {"a": value} if levels > 1 else value


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("levels", [1, 2, MAX_METADATA_DEPTH, MAX_METADATA_DEPTH + 1, 200])
def test_the_depth_of_metadata(levels: int, lists: bool) -> None:
    if levels <= MAX_METADATA_DEPTH:
        assert checked_metadata(nested(levels, lists)) == nested(levels, lists)
    else:
        with pytest.raises(ValueError, match="must not be nested deeper than 8 levels"):
            checked_metadata(nested(levels, lists))


@pytest.mark.parametrize("letter", ["x", "é", "\n"])
def test_the_size_of_metadata(letter: str) -> None:
    """In bytes of JSON, as it is stored."""

    def size(text: str) -> int:
        return len(json.dumps({"note": text}, ensure_ascii=False, separators=(",", ":")).encode())

    most = (MAX_METADATA_BYTES - size("")) // (size(letter) - size(""))
    assert checked_metadata({"note": letter * most})
    with pytest.raises(ValueError, match="must not be larger than 16384 bytes"):
        checked_metadata({"note": letter * (most + 1)})


def test_the_size_of_a_value(screener: Screener) -> None:
    fits = "http://bad.xyz/" + "a" * (MAX_VALUE_BYTES - 15)
    assert prepared(screener, type="url", value=fits).report.indicator.value == fits
    assert [problem.field for problem in problems(screener, type="url", value=fits + "a")] == ["value"]


def test_technique_ids_are_stored_in_their_normal_form(screener: Screener) -> None:
    made = prepared(screener, metadata={"mitreId": "t1110.001", "mitreIds": ["T1078"], "mitreTechnique": None})
    assert made.report.metadata == {"mitreId": ["T1110.001"], "mitreIds": ["T1078"], "mitreTechnique": None}


def test_unknown_metadata_is_kept(screener: Screener) -> None:
    said = {"anything": {"goes": [1, None, "é"]}, "asn": "AS64496"}
    assert prepared(screener, metadata=said).report.metadata == said


def test_related_indicators_are_found_in_any_spelling(screener: Screener) -> None:
    related = ["hxxp://bad[.]xyz/", "BAD.xyz", 7, None, "no indicator at all", "bad.xyz", ""]
    keys = (indicator_key(IndicatorType.URL, "http://bad.xyz/"), indicator_key(IndicatorType.DOMAIN, "bad.xyz"))
    assert prepared(screener, metadata={"relatedTo": related}).related == keys
    assert prepared(screener, metadata={"relatedTo": "bad.xyz"}).related == keys[1:]
    assert prepared(screener, metadata={"relatedTo": None}).related == ()
    many = [f"91.240.1.{number}" for number in range(MAX_RELATED + 50)]
    assert len(prepared(screener, metadata={"relatedTo": many}).related) == MAX_RELATED


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["port", "tags", "mitreId", "x"]), inner, max_size=3),
    ),
    max_leaves=8,
)
texts = st.one_of(st.none(), st.text(max_size=12))


@settings(deadline=None)
@given(
    st.builds(
        Claim,
        st.one_of(st.sampled_from(list(IndicatorType)), st.text(max_size=6)),
        st.one_of(st.just(IP), st.text(max_size=30)),
        st.one_of(st.just("manual"), st.text(max_size=6)),
        texts,
        texts,
        st.one_of(st.none(), st.floats()),
        st.dictionaries(st.sampled_from(["ports", "tag", "tags", "mitreIds", "attempts", "relatedTo"]), json_values),
        texts,
        texts,
        texts,
    )
)
def test_any_claim_is_a_report_or_problems(screener: Screener, said: Claim) -> None:
    made = Intake(screener).prepare(said, NOW)
    if isinstance(made, list):
        assert made
        assert all(problem.field and problem.reason for problem in made)
    else:
        assert made.report.key == indicator_key(*made.report.indicator)


# Batches -------------------------------------------------------------------------------------------------------------


def submit(system: System, *claims: Claim | list[Problem], **options: Any) -> Any:
    caller = options.pop("caller", LOCAL_OPERATOR)
    return system.run(system.reporting.submit(claims, caller, **options))


def facts_stored(system: System) -> tuple[int, int, int]:
    """Sightings, indicators and entries of the ledger."""
    (row,) = system.rows(
        "SELECT (SELECT count(*) FROM sighting), (SELECT count(*) FROM indicator), (SELECT count(*) FROM audit_entry)"
    )
    return row[0], row[1], row[2]


def test_a_batch_answers_in_the_order_of_its_items(system: System) -> None:
    values = ["91.240.118.9", IP, "bad.xyz", IP]
    done = submit(system, *map(claim, values))
    assert (done.received, done.new, done.updated, done.rejected) == (4, 3, 0, [])
    assert done.ids == [public_id(indicator_key(*claim_indicator(value))) for value in values]
    again = submit(system, claim(IP), claim("91.240.118.10"))
    assert (again.received, again.new, again.updated) == (2, 1, 1)
    assert facts_stored(system) == (6, 4, 2)
    assert system.find(IP).sightings == 3


def claim_indicator(value: str) -> tuple[IndicatorType, str]:
    return IndicatorType(claim(value).type), value


def test_one_bad_item_stores_nothing_and_every_bad_item_is_named(system: System) -> None:
    unread = [Problem("confidence", "must be a number")]
    with pytest.raises(InvalidInput, match="3 of 5 items cannot be stored; the first: item 1, value: ") as caught:
        submit(system, claim(IP), claim(IP, value="x"), unread, claim("bad.xyz"), claim(IP, tlp="x", category="x"))
    found = [(problem.position, problem.field) for problem in caught.value.problems]
    assert found == [(1, "value"), (2, "confidence"), (4, "category"), (4, "tlp")]
    assert facts_stored(system) == (0, 0, 0)


def test_partial_stores_the_good_ones(system: System) -> None:
    done = submit(system, claim(IP, value="x"), claim(IP), claim(IP, source=""), partial=True)
    assert (done.received, done.new) == (3, 1)
    assert [(problem.position, problem.field) for problem in done.rejected] == [(0, "value"), (2, "source")]
    assert facts_stored(system) == (1, 1, 1)
    with pytest.raises(InvalidInput):
        submit(system, claim(IP, value="x"), partial=True)
    assert facts_stored(system) == (1, 1, 1)


def test_a_retry_is_answered_and_stores_nothing(system: System) -> None:
    retry = Retry.of("again", b"body")
    first = submit(system, claim(IP), retry=retry)
    assert submit(system, claim(IP), retry=retry) == first
    system.reopen()
    assert submit(system, claim(IP), retry=retry) == first
    assert facts_stored(system) == (1, 1, 1)
    with pytest.raises(Conflict, match="used with another request"):
        submit(system, claim("bad.xyz"), retry=Retry.of("again", b"other body"))
    assert facts_stored(system) == (1, 1, 1)


def test_a_retry_key_belongs_to_its_caller_and_its_day(system: System) -> None:
    retry = Retry.of("again", b"body")
    submit(system, claim(IP), retry=retry)
    stranger = caller_without_key("198.51.100.1")
    submit(system, claim(IP), retry=retry, caller=stranger)
    assert facts_stored(system)[0] == 2
    system.clock.now += 24 * HOUR_MS
    submit(system, claim(IP), retry=retry)
    assert facts_stored(system)[0] == 2
    system.clock.now += 1000
    submit(system, claim(IP), retry=retry)
    assert facts_stored(system)[0] == 3


@pytest.mark.parametrize("key", ["", "x" * (MAX_IDEMPOTENCY_KEY + 1), "a\nb", "a\0b"])
def test_what_is_no_retry_key(key: str) -> None:
    with pytest.raises(InvalidInput, match="Idempotency-Key: must be 1 to 255 printable characters"):
        Retry.of(key, b"body")


@given(st.lists(st.binary(max_size=4), max_size=3), st.lists(st.binary(max_size=4), max_size=3))
def test_requests_differ_in_their_digests(one: list[bytes], other: list[bytes]) -> None:
    same = b"\0".join(one) == b"\0".join(other)
    assert (Retry.of("k", *one).digest == Retry.of("k", *other).digest) is same


@pytest.mark.parametrize("count", [1 << 64, 10**300, 10**4000])
def test_attempts_add_up_without_end(system: System, count: int) -> None:
    """Numbers no engine can hold must not fail in the writer."""
    for _ in range(3):
        submit(system, claim(IP, metadata={"attempts": count}))
    metadata = system.find(IP).metadata
    assert metadata is not None
    assert 0 < metadata["attempts"] <= 1 << 53


def test_a_sighting_of_what_nobody_reported_is_not_found(system: System) -> None:
    with pytest.raises(NotFound, match=f"{IP} is not a known indicator"):
        system.run(system.reporting.sight(IP, "manual", SightingKind.POSITIVE, {}, LOCAL_OPERATOR))
    assert facts_stored(system) == (0, 0, 0)
    assert system.rows("SELECT * FROM source") == []


def test_sightings_of_either_kind(system: System) -> None:
    system.report(IP)
    before = system.find(IP)
    worse = system.run(system.reporting.sight(IP, "x", SightingKind.POSITIVE, {"host": "a"}, LOCAL_OPERATOR))
    assert (worse.value, worse.total_sightings) == (IP, 2)
    assert worse.reputation_change < 0
    better = system.run(system.reporting.sight(IP, "x", SightingKind.FALSE_POSITIVE, {}, LOCAL_OPERATOR))
    assert better.total_sightings == 2
    assert better.reputation_change > 0
    assert better.pk > worse.pk
    assert system.find(IP).metadata == before.metadata


def test_a_sighting_goes_by_the_same_limits(system: System) -> None:
    system.report(IP)
    stored = facts_stored(system)
    for source, context in (
        ("two words", {}),
        ("x", {"note": "x" * MAX_METADATA_BYTES}),
        ("x", nested(9, lists=False)),
    ):
        with pytest.raises(InvalidInput):
            system.run(system.reporting.sight(IP, source, SightingKind.POSITIVE, context, LOCAL_OPERATOR))
    assert facts_stored(system) == stored
