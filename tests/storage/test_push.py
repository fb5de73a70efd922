"""Changes, webhooks and polled sources, as they are stored and read."""

import pytest

from tests.clock import NOW
from tests.storage.conftest import Database, make_state
from threatcloud.domain.change import ChangeKind, Interest, Place, read_place
from threatcloud.domain.errors import Gone, InvalidInput
from threatcloud.domain.evidence import Listing
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.polled import Figures, Known, Terms
from threatcloud.domain.report import Role
from threatcloud.domain.state import IndicatorState
from threatcloud.storage import campaigns, facts, feed_log, feeds, indicators, polled, removal, webhooks
from threatcloud.storage.campaigns import NewCampaign
from threatcloud.storage.changes import Slice, changes_after, newest_place
from threatcloud.storage.feeds import Release
from threatcloud.storage.polled import PolledSource
from threatcloud.storage.webhooks import Counts, DeliveryState, NewDelivery, Webhook

START = Place()


def after(database: Database, place: Place, limit: int = 100) -> Slice:
    return database.scan(lambda db: changes_after(db, place, limit, database.names))


def told(found: Slice) -> list[tuple[str, str]]:
    return [(item.kind.value, item.indicator.value if item.indicator else "") for item in found.changes]


def enter(database: Database, *states: IndicatorState) -> None:
    database.insert(*states)
    database.write(lambda tx: feeds.record_changes(tx, [(None, state) for state in states]))


def test_changes_are_told_once_in_pages_of_any_size(database: Database) -> None:
    made = [make_state(pk, updated_at=NOW + pk // 3) for pk in range(1, 8)]
    enter(database, *made)
    database.write(lambda tx: campaigns.add(tx, NewCampaign("cmp_1", "One")))
    database.write(lambda tx: feeds.add_release(tx, Release("v20260307.000001", 7, tx.now)))
    whole = after(database, START)
    assert not whole.more
    assert sorted({kind for kind, _ in told(whole)}) == ["campaign", "changed", "listed", "version"]
    for limit in (1, 2, 3):
        place, found = START, []
        while True:
            page = after(database, place, limit)
            assert all(change.is_after(place) for change in page.changes)
            found += told(page)
            place = page.place
            if not page.more:
                break
        assert sorted(found) == sorted(told(whole))
        assert place == whole.place
    assert after(database, database.scan(newest_place)).changes == []
    assert database.scan(newest_place).reaches(whole.place)


def test_what_left_is_named_also_when_it_was_removed(database: Database) -> None:
    state = make_state(1)
    enter(database, state)
    place = database.scan(newest_place)
    database.write(lambda tx: feeds.record_changes(tx, [(state, state._replace(shared=False, listed=False))]))
    database.write(lambda tx: removal.delete_rows(tx, [state], []))
    found = after(database, place)
    assert told(found) == [("unlisted", state.indicator.value), ("removed", state.indicator.value)]
    assert all(change.state is None for change in found.changes)
    database.write(feed_log.raise_to_now)
    with pytest.raises(Gone):
        after(database, place)
    assert after(database, database.scan(newest_place)).changes == []


def test_a_campaign_is_told_with_its_end(database: Database) -> None:
    pk = database.write(lambda tx: campaigns.add(tx, NewCampaign("cmp_1", "One", tags=("apt",))))
    (change,) = after(database, START).changes
    assert change.campaign is not None
    assert (change.campaign_id, change.campaign.name, change.campaign.tags) == ("cmp_1", "One", ("apt",))
    database.write(lambda tx: campaigns.dismiss(tx, pk))
    (gone,) = after(database, change.place).changes
    assert (gone.campaign_id, gone.campaign) == ("cmp_1", None)


@pytest.mark.parametrize("place", [START, Place(1, 2, 3, 4, 5, "v20260307.000001"), Place(5, (1 << 62) - 1, 1, 0, 9)])
def test_a_place_comes_back_from_its_text(place: Place) -> None:
    assert read_place(str(place), "id") == place
    with pytest.raises(InvalidInput):
        read_place(f"{place}x", "id")


def add_webhook(database: Database, name: str) -> Webhook:
    interest = Interest(frozenset({ChangeKind.LISTED}), IndicatorType.IP, "c2", 0.5)
    database.write(lambda tx: webhooks.add(tx, Webhook(0, name, "https://x/", interest, Place(3), NOW, "tc_a…b")))
    found = database.scan(lambda db: webhooks.find(db, name))
    assert found is not None
    return found


def test_a_webhook_comes_back_as_it_was_and_goes_with_its_deliveries(database: Database) -> None:
    hook, other = add_webhook(database, "wh_1"), add_webhook(database, "wh_2")
    assert (hook.interest.category, hook.interest.type, hook.place) == ("c2", IndicatorType.IP, Place(3))
    database.do(webhooks.move, hook.pk, Place(9))
    database.do(webhooks.note_health, hook.pk, NOW)
    database.do(webhooks.disable, hook.pk, "why")
    (first, _) = database.scan(webhooks.all_webhooks)
    assert (first.place, first.failing_since, first.disabled_why) == (Place(9), NOW, "why")
    database.do(webhooks.enable, hook.pk)
    database.do(webhooks.deliver, [NewDelivery("a", hook.pk, 1, b"{}"), NewDelivery("b", other.pk, 1, b"{}")])
    database.do(webhooks.remove, hook.pk)
    assert [item.id for item in database.scan(webhooks.all_webhooks)] == ["wh_2"]
    assert database.value("SELECT count(*) FROM delivery") == 1


def test_deliveries_are_due_settled_revived_and_pruned(database: Database) -> None:
    hook = add_webhook(database, "wh_1")
    names = ("a", "b", "c")
    database.do(webhooks.deliver, [NewDelivery(name, hook.pk, 1, b'{"v":"%b"}' % name.encode()) for name in names])
    far = NOW + 1_000_000
    found = database.ask(webhooks.due, hook.pk, far)
    assert found is not None
    first, body = found
    assert (first.id, body, database.ask(webhooks.due, hook.pk, 0)) == ("a", b'{"v":"a"}', None)
    assert database.ask(webhooks.counts, hook.pk, 2) == Counts(2, 0)
    database.do(webhooks.settle, first._replace(state=DeliveryState.DELIVERED, due_at=None, status=204, attempts=1))
    second = database.ask(webhooks.with_body, "b")
    assert second is not None
    database.do(webhooks.settle, second[0]._replace(state=DeliveryState.DEAD, due_at=None, problem="x", attempts=11))
    assert database.ask(webhooks.counts, hook.pk, 9) == Counts(1, 1)
    assert [item.id for item in database.ask(webhooks.deliveries, hook.pk, 1 << 61, 9)] == ["c", "b", "a"]
    database.do(webhooks.replace_naming, ["b"], b"gap")
    assert [database.ask(webhooks.with_body, name)[1] for name in names] == [b"", b"gap", b'{"v":"c"}']  # type: ignore[index]
    assert database.do(webhooks.revive, hook.pk) == 2
    assert database.ask(webhooks.counts, hook.pk, 9) == Counts(2, 0)
    assert database.do(webhooks.prune, far, 10) == 1
    assert database.ask(webhooks.with_body, "a") is None


def listing(source: str, reporter: int, first_at: int, confirmed_at: int) -> Listing:
    return Listing(reporter, source, first_at, confirmed_at)


def test_what_a_source_no_longer_confirms_ends_and_sources_are_measured(database: Database) -> None:
    states = [make_state(pk) for pk in range(1, 5)]
    database.insert(*states)
    database.sources("feed:a", "feed:b")
    reporter = database.write(lambda tx: database.names.ensure_reporter(tx, "feed:a", Role.FEED)).pk
    put = [
        (1, listing("feed:a", reporter, NOW, NOW)),
        (2, listing("feed:a", reporter, NOW, NOW + 500)),
        (3, listing("feed:a", reporter, NOW, NOW)),
        (3, listing("feed:b", reporter, NOW + 100, NOW)),
        (4, listing("feed:b", reporter, NOW + 100, NOW)),
    ]
    database.write(lambda tx: facts.put_listings(tx, put, database.names))
    a, b = database.names.source_pk("feed:a"), database.names.source_pk("feed:b")
    database.execute("UPDATE indicator SET status = 'whitelisted' WHERE pk = 1")
    measured = database.ask(polled.measure, 0, 100)
    assert measured.last_pk == 4
    assert measured.figures == {a: Figures(3, 1, 1, 1, 100), b: Figures(2, 1, 0, 0, -100)}
    assert database.ask(polled.measure, 4, 100).last_pk is None
    last, keys = database.ask(polled.dropped, a, NOW + 400, 0, 100)
    assert (last, set(keys)) == (4, {states[0].id, states[2].id})
    database.do(polled.end_listings, a, NOW + 400, keys)
    ended = {row[0] for row in database.rows("SELECT indicator FROM listing WHERE gone_at IS NOT NULL")}
    assert ended == {1, 3}
    expired = {row[0] for row in database.rows("SELECT pk FROM indicator WHERE expires_at IS NOT NULL")}
    assert expired == {1}, "the third is on another list"
    assert database.scan(lambda db: indicators.exists(db, states[0].id))


def test_a_polled_source_comes_back_as_it_was(database: Database) -> None:
    terms = Terms(60_000, "plain", "ip", None, "high", 0.7)
    new = PolledSource(0, "feed:a", "https://x/", terms, Known(), Figures(), NOW, NOW, "tc_a…b")
    database.do(polled.add, new)
    found = database.ask(polled.find, "feed:a")
    assert found is not None
    assert (found.terms, found.known, found.figures, found.removed_at) == (terms, Known(), Figures(), None)
    known = Known(checked_at=NOW, etag='"x"', problem="é", held_since=NOW, held_why="w", confirmed=True)
    database.do(polled.put_known, found.pk, known, NOW + 5)
    database.do(polled.put_figures, found.pk, Figures(1, 2, 3, 4, -5))
    (found,) = database.scan(polled.all_sources)
    assert (found.known, found.figures, found.due_at) == (known, Figures(1, 2, 3, 4, -5), NOW + 5)
    database.do(polled.want_removed, found.pk)
    database.do(polled.put_known, found.pk, Known(), NOW + 9)
    (removed,) = database.scan(polled.all_sources)
    assert removed.removed_at == removed.due_at
    database.do(polled.remove, found.pk)
    assert database.scan(polled.all_sources) == []
