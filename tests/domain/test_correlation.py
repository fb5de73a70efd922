"""Who belongs together: groups by shared features, within the limits that operators and hubs set."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.correlation import Group, Neighbourhood, groups, successors
from threatcloud.domain.features import (
    KIND_WORDS,
    SCALES,
    THRESHOLD,
    Feature,
    FeatureKind,
    Names,
    Saying,
    kind_of,
    said_features,
    value_features,
    weight,
    words,
)
from threatcloud.domain.indicator import detect

HOST = Feature(FeatureKind.HOST, "evil.test").key
NETWORK = Feature(FeatureKind.NETWORK, "192.0.2.0/24").key
WEEK = Feature(FeatureKind.NETWORK_WEEK, "192.0.2.0/24 c2, week of 1970-01-05").key
PATTERN = Feature(FeatureKind.PATTERN, "login-#").key
KEYS = [Feature(kind, str(number)).key for kind in FeatureKind for number in range(3)]
NAMES = Names(lambda name: ".".join(name.split(".")[-2:]), lambda host: host.endswith("shared.test"))


def around(features: dict[int, set[int]], **more: dict[int, int] | dict[int, frozenset[int]]) -> Neighbourhood:
    counts = Counter(key for keys in features.values() for key in keys)
    made = Neighbourhood({node: frozenset(keys) for node, keys in features.items()}, counts, {}, {}, {})
    return made._replace(**more)  # type: ignore[arg-type]


def sets(made: list[Group]) -> list[set[int]]:
    return [set(group.nodes) for group in made]


def test_a_strong_feature_joins_and_weak_ones_add_up() -> None:
    assert sets(groups(around({1: {HOST}, 2: {HOST}, 3: set()}))) == [{1, 2}, {3}]
    assert sets(groups(around({1: {NETWORK}, 2: {NETWORK}}))) == [{1}, {2}]
    assert sets(groups(around({1: {NETWORK, WEEK}, 2: {NETWORK, WEEK}, 3: {NETWORK}}))) == [{1, 2}, {3}]
    assert sets(groups(around({1: {NETWORK, PATTERN}, 2: {NETWORK, PATTERN}}))) == [{1, 2}]


def test_more_of_the_same_kind_says_no_more() -> None:
    often = {Feature(FeatureKind.SUBMISSION, str(number)).key for number in range(9)}
    assert sets(groups(around({1: often, 2: often}))) == [{1}, {2}]
    assert sets(groups(around({1: often | {PATTERN}, 2: often | {PATTERN}}))) == [{1, 2}]


def test_a_hub_joins_nothing() -> None:
    features = {node: {HOST} for node in range(5)}
    assert len(groups(around(features, members={HOST: SCALES[FeatureKind.HOST].most + 1}))) == 5


def test_a_relation_counts_as_little_as_its_busier_end_lets_it() -> None:
    attacker, payload = Feature(FeatureKind.RELATION, "a").key, Feature(FeatureKind.RELATION, "p").key
    pair = {1: {attacker, payload}, 2: {attacker, payload}}
    own = {1: attacker, 2: payload}
    assert sets(groups(around(pair, own=own))) == [{1, 2}]
    assert sets(groups(around(pair, own=own, members={attacker: 2, payload: 5_000}))) == [{1}, {2}]


def test_two_kept_campaigns_stay_two_and_the_stronger_bond_wins() -> None:
    features = {1: {HOST}, 2: {HOST, PATTERN, NETWORK}, 3: {PATTERN, NETWORK}}
    made = groups(around(features, kept={1: 70, 3: 80}))
    assert made == [Group(frozenset({1, 2}), 70), Group(frozenset({3}), 80)]


def test_who_was_taken_out_by_hand_does_not_come_back() -> None:
    made = groups(around({1: {HOST}, 2: {HOST}}, kept={1: 70}, banned={70: frozenset({2})}))
    assert made == [Group(frozenset({1}), 70), Group(frozenset({2}), None)]


def test_one_who_was_taken_out_stands_between_nobody() -> None:
    features = {node: {HOST} for node in range(1, 5)}
    made = groups(around(features, kept={1: 70, 2: 70}, banned={70: frozenset({3})}))
    assert made == [Group(frozenset({1, 2, 4}), 70), Group(frozenset({3}), None)]


def test_an_id_goes_on_with_the_larger_part() -> None:
    small, large = Group(frozenset({1}), None), Group(frozenset({2, 3}), None)
    assert successors([small, large], {9: frozenset({1, 2, 3})}) == {large.nodes: 9}
    merged = Group(frozenset({1, 2, 3, 4}), None)
    assert successors([merged], {8: frozenset({1, 2}), 9: frozenset({3, 4})}) == {merged.nodes: 8}
    kept = Group(frozenset({1}), 9)
    assert successors([kept, large], {9: frozenset({1, 2, 3})}) == {kept.nodes: 9}


@given(st.dictionaries(st.integers(0, 20), st.sets(st.sampled_from(KEYS), max_size=4), max_size=12))
def test_every_node_is_in_one_group_and_order_does_not_matter(features: dict[int, set[int]]) -> None:
    made = groups(around(features))
    assert sorted(node for group in made for node in group.nodes) == sorted(features)
    assert groups(around(dict(reversed(features.items())))) == made


@given(
    st.dictionaries(st.integers(0, 20), st.sets(st.sampled_from(KEYS), max_size=4), max_size=12),
    st.dictionaries(st.integers(0, 20), st.sampled_from([70, 80]), max_size=4),
)
def test_kept_campaigns_are_never_joined_nor_torn(features: dict[int, set[int]], kept: dict[int, int]) -> None:
    kept = {node: campaign for node, campaign in kept.items() if node in features}
    for group in groups(around(features, kept=kept)):
        assert {kept[node] for node in group.nodes if node in kept} <= {group.kept}
        if group.kept is not None:
            assert {node for node in kept if kept[node] == group.kept} <= group.nodes


@pytest.mark.parametrize("seed", range(4))
def test_pairs_that_share_something_strong_make_the_connected_groups(seed: int) -> None:
    """Many: sets of a few never lie deep enough to be told apart wrongly."""
    pick = random.Random(seed)
    features: dict[int, set[int]] = {node: set() for node in range(300)}
    expected = [{node} for node in features]
    for number in range(220):
        pair = pick.sample(range(300), 2)
        for node in pair:
            features[node].add(Feature(FeatureKind.HOST, str(number)).key)
        joined = set().union(*(nodes for nodes in expected if not nodes.isdisjoint(pair)))
        expected = [joined, *(nodes for nodes in expected if nodes.isdisjoint(pair))]
    assert sets(groups(around(features))) == sorted(expected, key=min)


@given(st.sampled_from(list(FeatureKind)), st.integers(1, 3000))
def test_what_many_share_says_less(kind: FeatureKind, members: int) -> None:
    key = Feature(kind, "x").key
    assert kind_of(key) is kind
    assert 0 <= weight(key, members + 1) <= weight(key, members) <= SCALES[kind].base
    assert -(1 << 63) <= key < 1 << 63
    assert KIND_WORDS[kind]
    assert "7" in words(kind, "x", 7)


def test_no_weak_feature_is_enough_alone_and_pairs_stay_few() -> None:
    weak = [scale for scale in SCALES.values() if scale.base < THRESHOLD]
    assert weak
    assert max(scale.most for scale in weak) <= 32


def test_what_a_value_shows() -> None:
    def shown(value: str) -> set[tuple[str, str]]:
        return {(feature.kind.name, feature.text) for feature in value_features(detect(value), NAMES)}

    assert shown("http://a.evil.test/x") == {("HOST", "a.evil.test"), ("DOMAIN", "evil.test")}
    assert shown("a.evil.test") == {("HOST", "a.evil.test"), ("DOMAIN", "evil.test")}
    assert shown("secure-login-12.test") >= {("PATTERN", "secure-login-#")}
    assert shown("http://192.0.2.7/x") == shown("192.0.2.7") == {("HOST", "192.0.2.7")}
    assert shown("http://files.shared.test/x") == set()
    assert shown("boss@evil.test") == {("HOST", "evil.test"), ("DOMAIN", "evil.test")}
    assert shown("boss@gmail.com") == set()
    assert shown("CVE-2021-44228") == shown("d41d8cd98f00b204e9800998ecf8427e") == set()


def test_what_a_report_says() -> None:
    metadata = {"ref": " report 7 ", "credentialDigests": ["a", "c", "b"], "mitreId": "T1110", "malwareFamily": "Mirai"}
    said = Saying(3, 1000, 1000, "botnet", metadata)
    found = {feature.kind: feature.text for feature in said_features(detect("192.0.2.7"), said)}
    assert found[FeatureKind.REFERENCE] == "report 7"
    assert FeatureKind.SUBMISSION in found
    logged = {feature.kind for feature in said_features(detect("192.0.2.7"), said._replace(from_log=True))}
    assert logged == {*found} - {FeatureKind.SUBMISSION}
    assert found[FeatureKind.FAMILY] == "mirai"
    assert found[FeatureKind.NETWORK] == "192.0.2.0/24"
    assert found[FeatureKind.TECHNIQUES_WEEK] == "botnet, T1110, week of 1969-12-29"
    again = said._replace(metadata={"credentialDigests": ["c", "b", "a"]})
    assert found[FeatureKind.CREDENTIALS] in {feature.text for feature in said_features(detect("192.0.2.8"), again)}
    assert FeatureKind.NETWORK not in {feature.kind for feature in said_features(detect("192.0.0.0/16"), said)}
    assert {item.text for item in said_features(detect("2001:db8::1"), said) if item.kind is FeatureKind.NETWORK} == {
        "2001:db8::/48"
    }
