"""A made-up past for real values: who saw which address when, doing what.

An address appears at some time of the last 90 days and is seen again within the days after, a few of them very often:
that is how scanners live, and it spreads sightings over every hour, category, country, port and technique there is.
The same seed gives the same past.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from threatcloud.domain.report import CATEGORIES, Role, Severity, SightingKind
from threatcloud.domain.times import DAY_MS, HOUR_MS

DAYS = 90
#: Who reports, with its role: as in a replayed history, each report stands for itself and not for a submission.
REPORTERS = (
    *((f"replay:sensor-{number}", Role.HONEYPOT) for number in range(8)),
    *((f"replay:agent-{number}", Role.AGENT) for number in range(12)),
    *((f"replay:member-{number}", Role.COMMUNITY) for number in range(20)),
)
_SOURCES = {Role.HONEYPOT: "honeypot", Role.AGENT: "guard-agent", Role.COMMUNITY: "community"}
#: What each category is seen doing: the often used before the rare.
_TECHNIQUES = {
    "malware": ("T1204", "T1059", "T1105", "T1027", "T1547"),
    "botnet": ("T1071", "T1498", "T1095", "T1571"),
    "phishing": ("T1566", "T1598", "T1204", "T1534"),
    "bruteforce": ("T1110", "T1078", "T1021", "T1133"),
    "scanner": ("T1595", "T1046", "T1590", "T1592"),
    "exploit": ("T1190", "T1203", "T1210", "T1068", "T1505"),
    "c2": ("T1071", "T1573", "T1090", "T1102", "T1568"),
}
_PORTS = (22, 23, 80, 443, 445, 3389, 8080, 2323, 25, 5060, 3306, 6379, 5900, 8443, 1433, 21, 5432, 9200, 27017, 11211)
#: Of eight addresses in a row, one has been seen sixteen times as often as the least.
_SHARES = (1, 1, 2, 3, 4, 5, 8, 16)
_BUSY_DAYS = 9


class Seen(NamedTuple):
    """One sighting of a value: by whom, when, and what is said (kind, category, severity, confidence, metadata)."""

    reporter: tuple[str, Role]
    source: str
    observed_at: int
    said: tuple[SightingKind, str, Severity, float, dict[str, Any]]


def past(values: int, sightings: int, now: int, *, seed: int = 2) -> Iterator[list[Seen]]:
    """All sightings of each value in turn, in the order of time; together as many as asked for."""
    chance = random.Random(seed)
    counts = _counts(values, sightings)
    for place, count in enumerate(counts):
        first = now - DAYS * DAY_MS + int(place / values * (DAYS * DAY_MS - HOUR_MS)) + HOUR_MS
        yield list(_of_one(chance, count, first, now))


def _of_one(chance: random.Random, count: int, first: int, now: int) -> Iterator[Seen]:
    category = chance.choice(CATEGORIES)
    port = _often_the_first(chance, _PORTS)
    watching = [chance.choice(REPORTERS) for _ in range(1 + count // 4)]
    busy_ms = min(_BUSY_DAYS * DAY_MS, now - first)
    times = sorted(first + int(chance.random() ** 2 * busy_ms) for _ in range(count))
    for at in times:
        reporter = chance.choice(watching)
        metadata: dict[str, Any] = {"port": port, "attempts": chance.randrange(1, 50)}
        if chance.random() < 0.6:
            metadata["mitreId"] = _often_the_first(chance, _TECHNIQUES[category])
        severity = Severity(chance.choice((1, 2, 2, 3, 3, 4)))
        said = (SightingKind.POSITIVE, category, severity, chance.choice((0.5, 0.8)), metadata)
        yield Seen(reporter, _SOURCES[reporter[1]], at, said)


def _often_the_first(chance: random.Random, choices: Sequence[Any]) -> Any:
    return choices[int(chance.random() ** 2 * len(choices))]


def _counts(values: int, sightings: int) -> Iterator[int]:
    """How often each value is seen: unequal shares within every eight in a row, exact in sum."""
    for start in range(0, values, len(_SHARES)):
        end = min(values, start + len(_SHARES))
        left = sightings * end // values - sightings * start // values
        shares = _SHARES[: end - start]
        for position, share in enumerate(shares):
            count = left * share // sum(shares[position:])
            left -= count
            yield count
