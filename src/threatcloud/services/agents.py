"""Agents: the update package they fetch, and the memory of who fetched it."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from threatcloud.domain.address import is_network
from threatcloud.domain.errors import NotFound
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.reputation import BLOCK_REPUTATION
from threatcloud.services.lookup import Page
from threatcloud.services.publishing import Published, Publisher, publish
from threatcloud.storage import agents, feeds, rules
from threatcloud.storage.driver import Connection
from threatcloud.storage.feeds import Membership, Release
from threatcloud.storage.rules import RuleDelta
from threatcloud.storage.store import Clock, Store

HEARTBEAT_INTERVAL_S: Final = 60
_KINDS: Final = (IndicatorType.IP, IndicatorType.DOMAIN, IndicatorType.HASH)


class Package(NamedTuple):
    """An update: the version it brings the agent to, whether its lists are whole, and what they hold.

    ``added`` and ``removed`` are by type (ip, domain, hash), hosts only; ``removed`` is None unless a delta was asked.
    ``rules`` are those of now that changed since the agent's version: it may hold a little more than the version says,
    never less.
    """

    version: str
    full: bool
    added: dict[str, list[str]]
    removed: dict[str, list[str]] | None
    rules: RuleDelta


class Agents:
    """Hands out update packages."""

    def __init__(self, store: Store, publisher: Publisher, clock: Clock) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock

    async def update(
        self, current_version: str | None, delta: bool, encode: Callable[[Package], bytes]
    ) -> tuple[str, Published]:
        """The present version, and the package for an agent at a version as ``encode`` writes it; the whole one when
        that version is unknown, too old or not given."""
        await self._publisher.start()
        release = self._publisher.release
        if release is None:
            raise NotFound("no package has been published yet")
        since = await self._publisher.known_release(current_version) if current_version else None

        async def render() -> Published:
            package = await self._package(since, release, delta)
            return publish(await asyncio.to_thread(encode, package), 0, release.version, release.at)

        # With whole lists only the rules depend on where the agent stands, and mostly they are the same.
        stands_at = since and (since.version if delta else min(since.rules_at, release.rules_at))
        return release.version, await self._publisher.shelf.get(("package", release.version, stands_at, delta), render)

    async def _package(self, since: Release | None, release: Release, delta: bool) -> Package:
        changed = await self._changed_rules(since, release)
        if delta and since is not None:
            changes = await self._store.scan(lambda db: feeds.changes_between(db, since.seq, release.seq, netted=False))
            return Package(release.version, False, _by_type(changes.added), _by_type(changes.removed), changed)
        whole = await self._store.scan(lambda db: _lists_at(db, release))
        return Package(release.version, since is None, whole, _by_type([]) if delta else None, changed)

    async def _changed_rules(self, since: Release | None, release: Release) -> RuleDelta:
        if since is None:
            whole = await self._store.scan(lambda db: rules.atr_since(db, 0))
            return RuleDelta([stored.rule for stored in whole], frozenset(), [])
        if since.rules_at >= release.rules_at:
            return RuleDelta([], frozenset(), [])
        return await self._store.scan(lambda db: rules.delta_after(db, since.rules_at))

    async def remember(
        self, agent_id: str, hostname: str | None, version: str | None, rule_version: str | None
    ) -> None:
        """Keeps the contact of an agent."""
        agent = agents.Agent(agent_id, hostname, version, self._clock(), rule_version)
        await self._store.write(lambda tx: agents.remember(tx, agent))

    async def find(self, agent_id: str) -> agents.Agent:
        """One agent; NotFound when it never asked for an update."""
        agent = await self._store.read(lambda db: agents.find(db, agent_id))
        if agent is None:
            raise NotFound("Agent not found")
        return agent

    async def page(self, page: int, limit: int) -> Page:
        """Agents in order of id."""
        offset = (page - 1) * limit
        return await self._store.scan(lambda db: Page(agents.page(db, None, offset, limit), agents.count(db), None))


def _lists_at(db: Connection, release: Release) -> dict[str, list[str]]:
    """The lists exactly as of the release: those of now, with what changed since taken back."""
    later = feeds.changes_between(db, release.seq, feeds.last_change(db))
    lists = {kind.value: feeds.listed_hosts(db, kind, BLOCK_REPUTATION) for kind in _KINDS}
    return _taken_back(lists, later) if later.added or later.removed else lists


def _taken_back(lists: dict[str, list[str]], later: Membership) -> dict[str, list[str]]:
    added, removed = _by_type(later.added), _by_type(later.removed)
    result = {}
    for kind, values in lists.items():
        gone = set(added[kind])
        result[kind] = [value for value in values if value not in gone] + removed[kind]
    return result


def _by_type(values: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Values by the types a package has; hosts only."""
    lists: dict[str, list[str]] = {kind.value: [] for kind in _KINDS}
    for kind, value in values:
        if kind in lists and (kind != IndicatorType.IP or not is_network(value)):
            lists[kind].append(value)
    return lists
