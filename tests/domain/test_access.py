"""Keys: entries as operators write them, what may be shown of a key, and what it may do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.access import (
    ALL_SCOPES,
    DEFAULT_SCOPES,
    MAX_KEY_LENGTH,
    MIN_KEY_LENGTH,
    Caller,
    KeyEntry,
    KeyInfo,
    Scope,
    mask_of,
    parse_key_entry,
    parse_role,
    parse_scopes,
)
from threatcloud.domain.report import KEY_ROLES, Role

KEY = "correct-horse-battery"
READ_WRITE = frozenset({Scope.READ, Scope.WRITE})
key_texts = st.text(st.characters(codec="ascii", exclude_characters=",:@ ", categories=["L", "N", "P", "S"]))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (KEY, KeyEntry(KEY, DEFAULT_SCOPES, Role.OPERATOR)),
        (f"  {KEY}\n", KeyEntry(KEY, DEFAULT_SCOPES, Role.OPERATOR)),
        (f"{KEY}:read+write", KeyEntry(KEY, READ_WRITE, Role.OPERATOR)),
        (f"{KEY}: Read + WRITE ", KeyEntry(KEY, READ_WRITE, Role.OPERATOR)),
        (f"{KEY}:read+write@agent", KeyEntry(KEY, READ_WRITE, Role.AGENT)),
        (f"{KEY}@honeypot", KeyEntry(KEY, DEFAULT_SCOPES, Role.HONEYPOT)),
        (f"{KEY}:@community", KeyEntry(KEY, DEFAULT_SCOPES, Role.COMMUNITY)),
        (f"{KEY}:feeds", KeyEntry(KEY, frozenset({Scope.FEEDS}), Role.OPERATOR)),
        (f"{KEY}:admin+audit+feeds+read+write", KeyEntry(KEY, ALL_SCOPES, Role.OPERATOR)),
        ("x" * MIN_KEY_LENGTH, KeyEntry("x" * MIN_KEY_LENGTH, DEFAULT_SCOPES, Role.OPERATOR)),
        ("x" * MAX_KEY_LENGTH, KeyEntry("x" * MAX_KEY_LENGTH, DEFAULT_SCOPES, Role.OPERATOR)),
    ],
)
def test_entries(entry: str, expected: KeyEntry) -> None:
    assert parse_key_entry(entry) == expected


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "short",
        "x" * (MIN_KEY_LENGTH - 1),
        "x" * (MAX_KEY_LENGTH + 1),
        ":read",
        "@agent",
        "has a space in it",
        "has\ta\ttab",
        "ünïcödé-key",
        f"{KEY}:",
        f"{KEY}:raed",
        f"{KEY}:+",
        f"{KEY}:read@boss",
        f"{KEY}:read@feed",
        f"{KEY}:read@anonymous",
        f"{KEY}@Operator",
        "first-half:second-half-of-it",
        "first-half@second-half-of-it",
        f"{KEY}:read@agent@second-half-of-it",
    ],
)
def test_wrong_entries_are_refused_and_never_shown(entry: str) -> None:
    if entry == f"{KEY}:":
        assert parse_key_entry(entry).scopes == DEFAULT_SCOPES
        return
    with pytest.raises(ValueError) as caught:
        parse_key_entry(entry)
    said = str(caught.value)
    for part in (KEY, "second", "half-of-it", "ünïcödé", "has a", "x" * 7):
        assert part not in said
    assert len(said) > 20


@given(key_texts.filter(lambda text: MIN_KEY_LENGTH <= len(text) <= MAX_KEY_LENGTH))
def test_every_printable_key_is_taken_as_it_is(key: str) -> None:
    assert parse_key_entry(f"{key}:read@agent") == KeyEntry(key, frozenset({Scope.READ}), Role.AGENT)


@given(st.text(max_size=300))
def test_any_text_is_an_entry_or_a_value_error(text: str) -> None:
    try:
        entry = parse_key_entry(text)
    except ValueError:
        return
    assert MIN_KEY_LENGTH <= len(entry.key) <= MAX_KEY_LENGTH
    assert entry.scopes
    assert entry.role in KEY_ROLES


@given(st.text(min_size=1, max_size=300))
def test_a_mask_never_shows_half_a_key(key: str) -> None:
    start, _, end = mask_of(key).rpartition("…")
    if "…" in key:
        start, end = mask_of(key)[: len(mask_of(key)) // 2], mask_of(key)[len(mask_of(key)) // 2 + 1 :]
    assert key.startswith(start)
    assert key.endswith(end)
    assert max(len(start), len(end)) <= 4
    assert 2 * (len(start) + len(end)) < len(key) or not start + end


def test_masks() -> None:
    assert mask_of("tc_0123456789abcdefXYZ") == "tc_0…fXYZ"
    assert mask_of("12345678") == "1…8"
    assert mask_of("1234") == mask_of("") == "…"


def info(expires_at: int | None = None, revoked_at: int | None = None) -> KeyInfo:
    return KeyInfo("key_1", "key_1", "name", "…", READ_WRITE, Role.AGENT, 0, expires_at, revoked_at)


@pytest.mark.parametrize(
    ("key", "at_ms", "valid"),
    [
        (info(), 10**15, True),
        (info(expires_at=100), 99, True),
        (info(expires_at=100), 100, False),
        (info(expires_at=100), 101, False),
        (info(revoked_at=100), 100, False),
        (info(revoked_at=100), 99, False),  # a clock that was put back does not give a revoked key its rights again
        (info(expires_at=200, revoked_at=100), 150, False),
    ],
)
def test_validity(key: KeyInfo, at_ms: int, valid: bool) -> None:
    assert key.is_valid_at(at_ms) is valid


@pytest.mark.parametrize("scope", Scope)
def test_a_caller_may_what_it_has_the_scope_for_and_read_includes_feeds(scope: Scope) -> None:
    caller = Caller("key:1", Role.AGENT, frozenset({scope}), "…", "192.0.2.1")
    for wanted in Scope:
        allowed = wanted is scope or (wanted is Scope.FEEDS and scope is Scope.READ)
        assert caller.may(wanted) is allowed


def test_a_caller_without_scopes_may_nothing() -> None:
    assert not any(Caller("block:1", Role.ANONYMOUS, frozenset(), "", "").may(scope) for scope in Scope)


def test_scopes_and_roles_by_their_words() -> None:
    assert parse_scopes(["read", " WRITE ", ""]) == READ_WRITE
    assert [parse_role(role.value) for role in KEY_ROLES] == list(KEY_ROLES)
    with pytest.raises(ValueError, match=r"raed.*read, write, audit, admin, feeds"):
        parse_scopes(["raed"])
    with pytest.raises(ValueError, match="at least one scope"):
        parse_scopes([" "])
    for role in ("feed", "anonymous", "boss", ""):
        with pytest.raises(ValueError, match="is no role: roles are operator, agent, honeypot, community"):
            parse_role(role)
