"""Which indicators belong together: groups joined by what they share, strongest evidence first. Pure.

Kruskal's way of making a spanning forest, with two limits: a group belongs to at most one campaign that an operator
made or edited, and none grows over ``MAX_GROUP``. A feature alone strong enough joins its members at once, so
the work grows with the number of memberships; only weak features, which have few members, are looked at in pairs. Of
each kind the strongest counts: to be reported together twice says no more than once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import combinations
from typing import Final, NamedTuple

from threatcloud.domain.features import THRESHOLD, FeatureKind, kind_of, weight

MAX_GROUP: Final = 5_000
#: Sets that a limit keeps apart are tried in turn; more than these few share no feature in earnest.
_MAX_APART: Final = 16


class Neighbourhood(NamedTuple):
    """What is looked at: the features of each node, how many members each feature has in all, each node's own relation
    feature, the kept campaign each node is in (if it is), and who may not be in which of them."""

    features: Mapping[int, Set[int]]
    members: Mapping[int, int]
    own: Mapping[int, int]
    kept: Mapping[int, int]
    banned: Mapping[int, frozenset[int]]


class Group(NamedTuple):
    """Nodes that belong together, and the kept campaign they belong to, if any."""

    nodes: frozenset[int]
    kept: int | None


def groups(around: Neighbourhood) -> list[Group]:
    """All groups, single nodes among them, each node in one; in order of their smallest node."""
    forest = _Forest(around)
    for _, nodes in sorted(_bonds(around), key=lambda bond: (-bond[0], bond[1])):
        forest.join(nodes)
    return forest.groups()


def _bonds(around: Neighbourhood) -> Iterator[tuple[float, tuple[int, ...]]]:
    """(weight, nodes) of those that belong together.

    Nodes of kept campaigns come first and those that may not be in one of them last, so that nobody is kept from a
    campaign by having been joined with one that may not be in it.
    """
    banned = frozenset[int]().union(*around.banned.values())
    having: dict[int, list[int]] = defaultdict(list)
    order = sorted(around.features)
    if around.kept or banned:
        order.sort(key=lambda node: (node not in around.kept, node in banned))
    for node in order:
        for key in around.features[node]:
            having[key].append(node)
    weak: dict[int, float] = {}
    for key, nodes in having.items():
        strength = weight(key, around.members.get(key, len(nodes)))
        if kind_of(key) is FeatureKind.RELATION or strength <= 0:
            continue
        if strength >= THRESHOLD:
            yield strength, tuple(nodes)
        else:
            weak[key] = strength
    yield from _weak_bonds(weak, having)
    yield from _relations(around, having)


def _weak_bonds(weak: Mapping[int, float], having: Mapping[int, list[int]]) -> Iterator[tuple[float, tuple[int, int]]]:
    """Pairs whose weak features add up to enough. Nodes whose own cannot, whoever shares them, are in no pair: of a
    list of names that is nearly all, and pairs are what costs."""
    most: dict[int, dict[FeatureKind, float]] = defaultdict(dict)
    for key, strength in weak.items():
        kind = kind_of(key)
        for node in having[key]:
            most[node][kind] = max(strength, most[node].get(kind, 0.0))
    able = {node for node, strengths in most.items() if sum(strengths.values()) >= THRESHOLD}
    pairs: dict[tuple[int, int], dict[FeatureKind, float]] = defaultdict(dict)
    for key, strength in weak.items():
        kind = kind_of(key)
        for pair in combinations([node for node in having[key] if node in able], 2):
            pairs[pair][kind] = max(strength, pairs[pair].get(kind, 0.0))
    for pair, strengths in pairs.items():
        if (strength := sum(strengths.values())) >= THRESHOLD:
            yield strength, pair


def _relations(around: Neighbourhood, having: Mapping[int, list[int]]) -> Iterator[tuple[float, tuple[int, int]]]:
    """A relation counts as little as the more related of its two ends lets it."""
    for node, key in around.own.items():
        own = weight(key, around.members.get(key, 0))
        for other in having.get(key, ()):
            theirs = around.own.get(other)
            if other > node and theirs is not None:
                strength = min(own, weight(theirs, around.members.get(theirs, 0)))
                if strength >= THRESHOLD:
                    yield strength, (node, other)


class _Forest:
    """Disjoint sets that know their kept campaign and their size."""

    def __init__(self, around: Neighbourhood) -> None:
        self._banned = around.banned
        self._parent = {node: node for node in around.features}
        self._joint: dict[int, list[int]] = {}  # the nodes by root, where there are more than that
        self._kept: dict[int, int] = {}
        first: dict[int, int] = {}
        for node, campaign in sorted(around.kept.items()):
            root = self._root(first.setdefault(campaign, node))
            if root != node:
                self._link(root, node)
            self._kept[self._root(node)] = campaign

    def join(self, nodes: Sequence[int]) -> None:
        """Makes as few sets as the limits allow of those the nodes are in."""
        apart: list[int] = []
        for node in nodes:
            for other in apart[:_MAX_APART]:
                if self._joined(other, node):
                    break
            else:
                apart.append(node)

    def _joined(self, one: int, other: int) -> bool:
        """Makes one set of the two the nodes are in, unless a limit is against it; whether they are in one."""
        a, b = self._root(one), self._root(other)
        if a == b:
            return True
        if not self._may_join(a, b):
            return False
        self._link(a, b)
        return True

    def _may_join(self, a: int, b: int) -> bool:
        if len(self._members(a)) + len(self._members(b)) > MAX_GROUP:
            return False
        if not self._kept:
            return True
        mine, theirs = self._kept.get(a), self._kept.get(b)
        if mine is not None and theirs is not None:
            return False
        return not (self._is_banned(mine, b) or self._is_banned(theirs, a))

    def _is_banned(self, campaign: int | None, root: int) -> bool:
        banned = self._banned.get(campaign) if campaign is not None else None
        return bool(banned) and not banned.isdisjoint(self._members(root))  # type: ignore[union-attr]

    def _link(self, a: int, b: int) -> None:
        if len(self._members(a)) < len(self._members(b)):
            a, b = b, a
        self._parent[b] = a
        self._joint.setdefault(a, [a]).extend(self._joint.pop(b, (b,)))
        kept = self._kept.pop(b, None)
        if kept is not None:
            self._kept[a] = kept

    def _members(self, root: int) -> Sequence[int]:
        return self._joint.get(root, (root,))

    def _root(self, node: int) -> int:
        parents = self._parent
        while (parent := parents[node]) != node:
            parents[node] = parents[parent]
            node = parent
        return node

    def groups(self) -> list[Group]:
        """The sets as they are."""
        roots = [node for node, parent in self._parent.items() if node == parent]
        made = [Group(frozenset(self._members(root)), self._kept.get(root)) for root in roots]
        return sorted(made, key=lambda group: min(group.nodes))


def successors(new: Iterable[Group], old: Mapping[int, frozenset[int]]) -> dict[frozenset[int], int]:
    """Which old campaign each group goes on with: its kept one, else by the largest overlap, ties to the oldest.

    ``old``: nodes by campaign. A campaign goes on in one group only; groups that are not in the answer are new.
    """
    taken: set[int] = set()
    found: dict[frozenset[int], int] = {}
    claims: list[tuple[int, int, int, frozenset[int]]] = []
    within: dict[int, list[int]] = defaultdict(list)
    for campaign, nodes in old.items():
        for node in nodes:
            within[node].append(campaign)
    for group in new:
        if group.kept is not None:
            found[group.nodes] = group.kept
            taken.add(group.kept)
            continue
        overlaps = Counter(campaign for node in group.nodes for campaign in within.get(node, ()))
        claims += [(-shared, campaign, min(group.nodes), group.nodes) for campaign, shared in overlaps.items()]
    for _, campaign, _, nodes in sorted(claims, key=lambda claim: claim[:3]):
        if campaign not in taken and nodes not in found:
            found[nodes] = campaign
            taken.add(campaign)
    return found
