"""Lists in other formats: made once for each version, the same by a thread and by a process, never of what is gone."""

import asyncio
import json

import pytest

from tests.services.conftest import System
from threatcloud.domain.errors import InvalidInput
from threatcloud.domain.feed import FeedList
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso
from threatcloud.formats.feeds import FORMATS, find_format
from threatcloud.services.publishing import IDENTITY, Published
from threatcloud.services.rendering import DETAILS_AGE_MS, Renderer, Shape

IPS = FeedList(IndicatorType.IP)
JSON, NFTABLES = Shape(find_format("json")), Shape(find_format("nftables"))


@pytest.fixture
def published(system: System) -> System:
    """A system with something of every type on its lists."""
    system.report("91.240.118.7", "91.240.118.8", "91.240.119.0/24", "2a0e:1::7", "bad-login.xyz", "ab" * 32)
    system.report("http://bad-login.xyz/a?b='c'", category=None)
    system.run(system.publisher.start())
    return system


@pytest.fixture
def renderer(published: System) -> Renderer:
    return Renderer(published.store, published.publisher, published.clock)


def body(found: Published) -> str:
    return found.bodies[IDENTITY].decode()


def test_a_version_of_a_list_is_rendered_once(published: System, renderer: Renderer) -> None:
    async def twice() -> tuple[Published, Published]:
        return await asyncio.gather(renderer.get(IPS, NFTABLES), renderer.get(IPS, NFTABLES))

    first, second = published.run(twice())

    assert first is second
    assert published.run(renderer.get(IPS, NFTABLES)) is first


def test_a_change_is_in_every_format(published: System, renderer: Renderer) -> None:
    before = [published.run(renderer.get(IPS, shape)) for shape in (JSON, NFTABLES)]
    published.report("91.240.120.9")
    published.run(published.publisher.refresh({IndicatorType.IP}))

    after = [published.run(renderer.get(IPS, shape)) for shape in (JSON, NFTABLES)]

    assert not any("91.240.120.9" in body(found) for found in before)
    assert all("91.240.120.9" in body(found) for found in after)
    assert all(new.modified_s > old.modified_s for old, new in zip(before, after, strict=True))


def test_what_is_said_of_an_entry_is_at_most_minutes_old(published: System, renderer: Renderer) -> None:
    before = published.run(renderer.get(IPS, JSON))
    published.clock.now += DETAILS_AGE_MS
    published.report("91.240.118.7")
    published.run(published.publisher.refresh({IndicatorType.IP}))

    after = published.run(renderer.get(IPS, JSON))

    assert iso(published.clock.now) not in body(before)
    assert json.loads(body(after))["data"]["generatedAt"] == json.loads(body(before))["data"]["generatedAt"]
    assert f'"lastSeen":"{iso(published.clock.now)}"' in body(after)
    assert after.modified_s > before.modified_s


@pytest.mark.parametrize(
    ("name", "kind"), [("nftables", "ip"), ("rpz", "domain"), ("json", "url"), ("elastic", "hash")]
)
def test_a_process_of_its_own_renders_the_same_as_a_thread(published: System, name: str, kind: str) -> None:
    apart = Renderer(published.store, published.publisher, published.clock, short_entries=0)
    together = Renderer(published.store, published.publisher, published.clock)
    wanted, shape = FeedList(IndicatorType(kind)), Shape(find_format(name))

    found = published.run(apart.get(wanted, shape))
    published.publisher.renderings.clear()

    again = published.run(together.get(wanted, shape))
    assert again is not found
    assert again == found
    assert found.entries > 0


def test_only_the_worst_are_kept_and_networks_are_joined(published: System, renderer: Renderer) -> None:
    def lines(shape: Shape) -> list[str]:
        return body(published.run(renderer.get(IPS, shape))).splitlines()[3:]

    whole = lines(Shape(top=99))
    assert lines(Shape(top=4)) == whole
    assert lines(Shape(top=2)) == whole[:2]
    published.report("91.240.118.6", "91.240.118.9")
    published.run(published.publisher.refresh({IndicatorType.IP}))
    assert "91.240.118.6/31" in lines(Shape(aggregate=True))


def test_an_empty_list_can_be_had_in_every_format(system: System) -> None:
    renderer = Renderer(system.store, system.publisher, system.clock)
    for format_ in FORMATS:
        for kind in format_.kinds:
            assert system.run(renderer.get(FeedList(kind), Shape(format_))).entries == 0


def test_what_a_format_cannot_say_is_refused_before_anything_is_read(published: System, renderer: Renderer) -> None:
    with pytest.raises(InvalidInput, match="nftables cannot say"):
        published.run(renderer.get(FeedList(IndicatorType.DOMAIN), NFTABLES))
    with pytest.raises(InvalidInput, match="aggregate"):
        published.run(renderer.get(IPS, JSON._replace(aggregate=True)))


def test_after_an_erasure_nothing_rendered_before_is_left(published: System, renderer: Renderer) -> None:
    before = published.run(renderer.get(IPS, NFTABLES))

    published.run(published.publisher.renew({IndicatorType.IP}))

    assert published.run(renderer.get(IPS, NFTABLES)) is not before
