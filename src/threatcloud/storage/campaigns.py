"""Campaigns and their members: what correlation and operators write, and what follows from the members."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from threatcloud.domain.campaign import Campaign
from threatcloud.domain.report import Severity
from threatcloud.storage.driver import Connection, Row, Transaction

COLUMNS: Final = (
    "pk, id, name, description, by_hand, severity, tags, mitre_ids, orgs, first_seen, last_activity, iocs, "
    "created_at, updated_at"
)
SHOWN: Final = "merged_into IS NULL AND dismissed_at IS NULL"
MAX_TAGS: Final = 20
MAX_TECHNIQUES: Final = 50
_encode: Final = msgspec.json.Encoder().encode
_strings: Final = msgspec.json.Decoder(tuple[str, ...]).decode


class _Said(msgspec.Struct):
    """What a member's metadata say of the campaign."""

    tags: list[Any] = []
    mitreIds: list[Any] = []  # noqa: N815 - the name in the metadata


_said: Final = msgspec.json.Decoder(_Said).decode


class NewCampaign(NamedTuple):
    """A campaign about to be made; what its members say is added by ``refresh``."""

    id: str
    name: str
    description: str = ""
    by_hand: bool = False
    severity: Severity | None = None
    tags: Sequence[str] = ()


def campaign_of(row: Row) -> Campaign:
    """The campaign a row of ``COLUMNS`` stands for."""
    severity = None if row[5] is None else Severity(row[5])
    return Campaign._make((*row[:4], row[4] == 1, severity, *(_strings(text) for text in row[6:9]), *row[9:]))


def add(tx: Transaction, new: NewCampaign) -> int:
    """Makes a campaign without members; gives its row number."""
    tx.db.run(
        "INSERT INTO campaign (id, name, description, by_hand, own_severity, own_tags, severity, tags, mitre_ids, "
        "orgs, first_seen, last_activity, iocs, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, '[]', '[]', ?, ?, 0, ?, ?)",
        (
            new.id,
            new.name,
            new.description,
            int(new.by_hand),
            new.severity,
            _encode(list(new.tags)).decode(),
            new.severity,
            _encode(list(new.tags)).decode(),
            *[tx.now] * 4,
        ),
    )
    row = tx.db.row("SELECT pk FROM campaign WHERE id = ?", (new.id,))
    assert row is not None
    return int(row[0])


def join(tx: Transaction, campaign: int, indicators: Iterable[int], *, by_hand: bool) -> None:
    """Puts indicators into a campaign. What an operator put there stays the operator's."""
    tx.db.run_many(
        "INSERT INTO campaign_member (campaign, indicator, by_hand, joined_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (campaign, indicator) DO UPDATE SET by_hand = excluded.by_hand "
        "WHERE excluded.by_hand > campaign_member.by_hand",
        [(campaign, pk, int(by_hand), tx.now) for pk in indicators],
    )


def leave(tx: Transaction, campaign: int, indicators: Iterable[int]) -> None:
    """Takes indicators out of a campaign."""
    tx.db.run_many(
        "DELETE FROM campaign_member WHERE campaign = ? AND indicator = ?", [(campaign, pk) for pk in indicators]
    )


def merge(tx: Transaction, campaign: int, into: int) -> None:
    """Leads whoever asks for a campaign to another, which takes what operators decided; members are moved apart."""
    tx.db.run("UPDATE campaign SET merged_into = ?, updated_at = ? WHERE pk = ?", (into, tx.now, campaign))
    tx.db.run("UPDATE campaign SET merged_into = ? WHERE merged_into = ?", (into, campaign))
    tx.db.run(
        "INSERT INTO campaign_ban (campaign, indicator) SELECT ?, indicator FROM campaign_ban WHERE campaign = ? "
        "ON CONFLICT DO NOTHING",
        (into, campaign),
    )
    tx.db.run("DELETE FROM campaign_ban WHERE campaign = ?", (campaign,))
    tx.db.run("UPDATE campaign_event SET campaign = ? WHERE campaign = ?", (into, campaign))


def note(tx: Transaction, campaign: int, event: str, details: str) -> None:
    """Enters something that happened to a campaign."""
    tx.db.run(
        "INSERT INTO campaign_event (campaign, at, event, details) VALUES (?, ?, ?, ?)",
        (campaign, tx.now, event, details),
    )


def make_due(tx: Transaction, indicators: Iterable[int]) -> None:
    """Has correlation look at the indicators again."""
    tx.db.run_many(
        "INSERT INTO correlation_due (indicator) VALUES (?) ON CONFLICT DO NOTHING", [(pk,) for pk in indicators]
    )


def find(db: Connection, campaign_id: str) -> Campaign | None:
    """The campaign of an id, or the one it went into; None when there is none, or it was dismissed."""
    row = db.row("SELECT pk, merged_into, dismissed_at FROM campaign WHERE id = ?", (campaign_id,))
    if row is None:
        return None
    pk = row[0] if row[1] is None else row[1]
    row = db.row(f"SELECT {COLUMNS} FROM campaign WHERE pk = ? AND {SHOWN}", (pk,))
    return campaign_of(row) if row else None


def campaigns_of(db: Connection, indicators: Sequence[int]) -> list[int]:
    """The row numbers of the campaigns that any of the indicators is in, dismissed ones too."""
    rows = db.rows_in("SELECT DISTINCT campaign FROM campaign_member WHERE indicator IN keys()", indicators)
    return [row[0] for row in rows]


def refresh(tx: Transaction, campaigns: Sequence[int]) -> None:
    """Brings what follows from the members up to date: severity, tags, techniques, times, count, organisations."""
    sums = {row[0]: row[1:] for row in tx.db.rows_in(_SUMS, campaigns)}
    tags, techniques = _said_of(tx.db, campaigns)
    orgs = _orgs(tx.db, campaigns)
    changes = []
    own = tx.db.rows_in("SELECT pk, own_severity, own_tags, created_at FROM campaign WHERE pk IN keys()", campaigns)
    for pk, own_severity, own_tags, created_at in own:
        worst, first_seen, last_seen, members = sums.get(pk, (None, created_at, created_at, 0))
        all_tags = dict.fromkeys([*_strings(own_tags), *(tag for tag, _ in tags[pk].most_common(MAX_TAGS))])
        most_used = [technique for technique, _ in techniques[pk].most_common(MAX_TECHNIQUES)]
        lists = (_encode(words).decode() for words in (list(all_tags), most_used, orgs[pk]))
        changes.append((own_severity or worst, *lists, first_seen, last_seen, members, tx.now, pk))
    tx.db.run_many(
        "UPDATE campaign SET severity = ?, tags = ?, mitre_ids = ?, orgs = ?, first_seen = ?, last_activity = ?, "
        "iocs = ?, updated_at = ? WHERE pk = ?",
        changes,
    )


_SUMS: Final = (
    "SELECT m.campaign, max(nullif(i.severity, 0)), min(i.first_seen), max(i.last_seen), count(*) "
    "FROM campaign_member m JOIN indicator i ON i.pk = m.indicator WHERE m.campaign IN keys() GROUP BY m.campaign"
)


def _said_of(db: Connection, campaigns: Sequence[int]) -> tuple[dict[int, Counter[str]], dict[int, Counter[str]]]:
    """How many members have each tag and technique, by campaign; those of a list have none and are not read."""
    tags: dict[int, Counter[str]] = defaultdict(Counter)
    techniques: dict[int, Counter[str]] = defaultdict(Counter)
    rows = db.rows_in(
        "SELECT m.campaign, i.metadata FROM campaign_member m JOIN indicator i ON i.pk = m.indicator "
        "WHERE m.campaign IN keys() AND (instr(i.metadata, '\"tags\"') > 0 OR instr(i.metadata, '\"mitreIds\"') > 0) "
        "ORDER BY m.campaign, m.indicator",
        campaigns,
    )
    for campaign, metadata in rows:
        said = _said(metadata)
        tags[campaign].update(map(str, said.tags))
        techniques[campaign].update(map(str, said.mitreIds))
    return tags, techniques


def _orgs(db: Connection, campaigns: Sequence[int]) -> dict[int, list[str]]:
    """The organisations whose keys reported any of the members, by campaign."""
    of_reporter: dict[int, str] = dict(
        db.rows(
            "SELECT r.pk, k.org FROM api_key k JOIN reporter r ON r.name = 'key:' || k.lineage WHERE k.org IS NOT NULL"
        )
    )
    found: dict[int, set[str]] = {campaign: set() for campaign in campaigns}
    if of_reporter:  # most servers have no such keys
        rows = db.rows_in(
            "SELECT DISTINCT m.campaign, e.reporter FROM campaign_member m "
            "JOIN evidence e ON e.indicator = m.indicator WHERE m.campaign IN keys()",
            campaigns,
        )
        for campaign, reporter in rows:
            if reporter in of_reporter:
                found[campaign].add(of_reporter[reporter])
    return {campaign: sorted(orgs) for campaign, orgs in found.items()}


def shown_of(db: Connection, indicators: Sequence[int]) -> list[str]:
    """The ids of the campaigns that any of the indicators is in, the most recently active first."""
    rows = db.rows_in(
        "SELECT DISTINCT c.id, c.last_activity, c.pk FROM campaign_member m JOIN campaign c ON c.pk = m.campaign "
        f"WHERE m.indicator IN keys() AND {SHOWN} ORDER BY c.last_activity DESC, c.pk",
        indicators,
    )
    return [row[0] for row in rows]


def describe(
    tx: Transaction,
    campaign: int,
    name: str | None,
    description: str | None,
    severity: Severity | None,
    tags: Sequence[str] | None,
) -> None:
    """Sets what an operator says; None leaves it. From now on the campaign is the operator's."""
    tx.db.run(
        "UPDATE campaign SET by_hand = 1, name = coalesce(?, name), description = coalesce(?, description), "
        "own_severity = coalesce(?, own_severity), own_tags = coalesce(?, own_tags) WHERE pk = ?",
        (name, description, severity, None if tags is None else _encode(list(tags)).decode(), campaign),
    )


def rewrite(tx: Transaction, text: str, masked: Callable[[str], str]) -> None:
    """Has names and descriptions that hold a text rewritten."""
    rows = tx.db.rows(
        "SELECT pk, name, description FROM campaign "
        "WHERE instr(lower(name), ?) > 0 OR instr(lower(description), ?) > 0",
        (text.lower(), text.lower()),
    )
    tx.db.run_many(
        "UPDATE campaign SET name = ?, description = ? WHERE pk = ?",
        [(masked(name), masked(description), pk) for pk, name, description in rows],
    )


def ban(tx: Transaction, campaign: int, indicators: Iterable[int]) -> None:
    """Keeps correlation from putting them back."""
    tx.db.run_many(
        "INSERT INTO campaign_ban (campaign, indicator) VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(campaign, pk) for pk in indicators],
    )


def lift_bans(tx: Transaction, campaign: int, indicators: Iterable[int]) -> None:
    """Lets them come back."""
    tx.db.run_many(
        "DELETE FROM campaign_ban WHERE campaign = ? AND indicator = ?", [(campaign, pk) for pk in indicators]
    )


def dismiss(tx: Transaction, campaign: int) -> None:
    """Takes a campaign out of sight for good."""
    tx.db.run("UPDATE campaign SET dismissed_at = ?, updated_at = ? WHERE pk = ?", (tx.now, tx.now, campaign))
