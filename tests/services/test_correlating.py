"""Correlation over a real store: campaigns come, grow, merge and split with what is reported; operators outrank it."""

import random
from functools import partial

import pytest

from tests.engines import Engine
from tests.services.conftest import System
from threatcloud.domain.campaign import Campaign
from threatcloud.domain.features import SCALES, FeatureKind
from threatcloud.domain.indicator import detect, indicator_key
from threatcloud.domain.times import DAY_MS
from threatcloud.services.correlating import Correlator, Stepper
from threatcloud.services.pacing import Pace
from threatcloud.services.removal import remove
from threatcloud.services.screening import Screener
from threatcloud.storage import campaigns


class Correlated(System):
    """A system with its correlator."""

    def correlate(self) -> str:
        found: str = self.run(Correlator(self.store, self._screener, Pace()).run())
        return found

    def campaigns(self) -> dict[str, list[str]]:
        """The values of each shown campaign's members, by id."""
        rows = self.rows(
            "SELECT c.id, i.value FROM campaign c JOIN campaign_member m ON m.campaign = c.pk "
            f"JOIN indicator i ON i.pk = m.indicator WHERE {campaigns.SHOWN} ORDER BY c.pk, i.value"
        )
        found: dict[str, list[str]] = {}
        for campaign, value in rows:
            found.setdefault(campaign, []).append(value)
        return found

    def campaign(self, campaign_id: str) -> Campaign:
        found = self.run(self.store.read(lambda db: campaigns.find(db, campaign_id)))
        assert isinstance(found, Campaign)
        return found


@pytest.fixture
def system(engine: Engine, screener: Screener) -> object:
    made = Correlated(engine.place("test.db"), screener)
    yield made
    made.close()


def test_what_shares_a_host_is_a_campaign_that_says_why(system: Correlated) -> None:
    system.report("http://panel.evil-host.xyz/a", "http://panel.evil-host.xyz/b", "panel.evil-host.xyz")
    system.report("91.240.118.7", "lonely-name.top")
    assert system.correlate() == "5 indicators looked at"
    assert system.correlate() == ""
    [(campaign_id, members)] = system.campaigns().items()
    assert members == ["http://panel.evil-host.xyz/a", "http://panel.evil-host.xyz/b", "panel.evil-host.xyz"]
    found = system.campaign(campaign_id)
    assert (found.name, found.iocs, found.by_hand) == ("c2: panel.evil-host.xyz", 3, False)
    names = {row[0] for row in system.rows("SELECT text FROM feature_name")}
    assert "panel.evil-host.xyz" in names
    assert "lonely-name.top" not in names


def test_what_was_published_together_is_named_by_more_than_the_publication(system: Correlated) -> None:
    hosts = [f"http://host-{number}.example-bad.xyz/a" for number in range(3)]
    loose = [f"loose{'abcdefgh'[number]}.top" for number in range(6)]
    system.report(*hosts[:2], *loose, metadata={"ref": "post:12345"})
    system.correlate()
    assert [system.campaign(campaign).name for campaign in system.campaigns()] == ["c2: example-bad.xyz and others"]


def test_it_grows_and_its_times_follow(system: Correlated) -> None:
    system.report(*(f"http://evil-host.xyz/{n}" for n in range(3)))
    system.correlate()
    [before] = system.campaigns()
    system.clock.now += 9 * DAY_MS
    system.report("http://evil-host.xyz/later")
    system.correlate()
    assert [len(members) for members in system.campaigns().values()] == [4]
    found = system.campaign(before)
    assert found.last_activity - found.first_seen >= 9 * DAY_MS


def test_two_that_turn_out_to_be_one_merge_and_the_old_id_leads_there(system: Correlated) -> None:
    system.report(*(f"http://one.evil-a.xyz/{n}" for n in range(4)))
    system.report(*(f"http://evil-b.xyz/{n}" for n in range(3)))
    system.correlate()
    larger, smaller = sorted(system.campaigns(), key=lambda key: -len(system.campaigns()[key]))
    system.report("evil-b.xyz", metadata={"relatedTo": "http://one.evil-a.xyz/0"})
    system.correlate()
    assert [len(members) for members in system.campaigns().values()] == [8]
    assert system.campaign(smaller).id == system.campaign(larger).id == larger


def test_a_hub_lets_go_when_it_has_become_one(system: Correlated) -> None:
    most = SCALES[FeatureKind.CREDENTIALS].most
    metadata = {"credentialDigests": ["a", "b", "c"]}
    values = [f"{a}.{b}.7.9" for a in range(80, 90) for b in range(30)]
    for value in values[:5]:
        system.report(value, metadata=metadata)
        system.clock.now += 1000
    system.correlate()
    assert [len(members) for members in system.campaigns().values()] == [5]
    for value in values[5 : most + 10]:
        system.report(value, metadata=metadata)
    system.correlate()
    assert system.campaigns() == {}


def test_what_is_benign_is_in_no_campaign_and_joins_none(system: Correlated) -> None:
    for value in ("91.240.118.7", "91.241.118.7", "91.242.118.7"):
        system.report(value, metadata={"relatedTo": "8.8.8.8"})
    system.report("8.8.8.8", "http://raw.githubusercontent.com/a/b", "http://raw.githubusercontent.com/c/d")
    system.report("http://raw.githubusercontent.com/e/f")
    system.correlate()
    assert system.campaigns() == {}


def test_neighbours_seen_in_the_same_week_for_the_same_thing(system: Correlated) -> None:
    for value in ("91.240.118.7", "91.240.118.8", "91.240.118.9", "91.240.119.9"):
        system.report(value)
        system.clock.now += 1000
    system.correlate()
    assert list(system.campaigns().values()) == [["91.240.118.7", "91.240.118.8", "91.240.118.9"]]


def test_operators_outrank_it(system: Correlated) -> None:
    system.report(*(f"http://evil-host.xyz/{n}" for n in range(4)))
    system.correlate()
    [campaign_id] = system.campaigns()
    [(campaign, gone)] = system.rows(
        "SELECT c.pk, i.pk FROM campaign c, indicator i WHERE i.value = 'http://evil-host.xyz/3'"
    )

    def take_out(tx: object) -> None:
        campaigns.leave(tx, campaign, [gone])  # type: ignore[arg-type]
        tx.db.run("UPDATE campaign SET by_hand = 1")  # type: ignore[attr-defined]
        tx.db.run("INSERT INTO campaign_ban VALUES (?, ?)", (campaign, gone))  # type: ignore[attr-defined]
        campaigns.make_due(tx, [gone])  # type: ignore[arg-type]

    system.run(system.store.write(take_out))
    system.report("http://evil-host.xyz/new", "http://evil-host.xyz/3")
    system.correlate()
    members = [f"http://evil-host.xyz/{n}" for n in (0, 1, 2, "new")]
    assert system.campaigns() == {campaign_id: members}


@pytest.mark.parametrize("seed", range(12))
def test_bit_by_bit_is_the_same_as_all_at_once(engine: Engine, screener: Screener, seed: int) -> None:
    """Whatever the order and the steps: the same groups."""
    pick = random.Random(seed)
    hosts = [f"h{n}-evil.xyz" for n in range(4)]
    values = [f"http://{host}/{n}" for host in hosts for n in range(3)] + hosts
    said = [(pick.choice(values), pick.choice([None, None, pick.choice(values)])) for _ in range(25)]
    found = []
    for chance in (0.0, 0.5):
        system = Correlated(engine.place(f"{chance}.db"), screener)
        for value, other in said:
            system.report(value, metadata={"relatedTo": other} if other else {})
            system.clock.now += 1000
            if pick.random() < chance:
                system.correlate()
        system.correlate()
        found.append(sorted(system.campaigns().values()))
        system.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("seed", range(6))
def test_the_length_of_the_steps_makes_no_difference(engine: Engine, screener: Screener, seed: int) -> None:
    """With all that reports say: what they were sent with, publications, families, networks and makes of names."""
    pick = random.Random(seed)
    values = [f"91.240.{pick.randrange(3)}.{n}" for n in range(40)]
    values += [f"{word}-{n}{end}" for n in range(20) for word in ("secure-login", "pay") for end in ("a.top", "b.top")]
    batches = [
        (pick.sample(values, pick.choice([1, 3, 12, 40])), pick.choice([None, "post:1"]), pick.choice(["", "mirai"]))
        for _ in range(12)
    ]
    found = []
    for length in (3, 20, 1_000):
        system = Correlated(engine.place(f"{length}.db"), screener)
        for batch, ref, family in batches:
            system.report(*batch, metadata={"malwareFamily": family} | ({"ref": ref} if ref else {}))
            system.clock.now += 1000
        stepper = Stepper(screener)
        while system.run(system.store.write(partial(stepper.step, most=length))):
            pass
        found.append(sorted(system.campaigns().values()))
        system.close()
    assert found[0]
    assert found[0] == found[1] == found[2]


def test_who_is_removed_leaves_its_campaign_and_no_words_behind(system: Correlated) -> None:
    values = ["91.240.118.7", *(f"http://91.240.118.7/{n}" for n in range(3))]
    system.report(*values, "lonely-name.top", metadata={"relatedTo": "91.240.118.7"})
    system.correlate()
    assert [len(members) for members in system.campaigns().values()] == [5]

    def take(value: str) -> None:
        key = indicator_key(*detect(value))
        system.run(system.store.write(lambda tx: remove(tx, system.names, [key])))

    take(values[0])
    assert [len(members) for members in system.campaigns().values()] == [4]
    assert "ip 91.240.118.7" not in {row[0] for row in system.rows("SELECT text FROM feature_name")}
    for value in (*values[1:], "lonely-name.top"):
        take(value)
    for table in ("feature", "feature_name", "campaign", "campaign_member", "campaign_event", "correlation_due"):
        assert system.rows(f"SELECT * FROM {table}") == [], table
