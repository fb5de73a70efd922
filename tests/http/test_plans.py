"""Every route with every parameter, run for real: which statements cost more the more is stored, and why they may."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import apsw
import msgspec
import pytest

from tests.clock import Clock
from tests.engines import SQLiteEngine
from tests.http.conftest import LiveServer, serve_in
from tests.http.every_request import Request, Stock, have_held, reads, route_of, stock, values_of, writes
from tests.plans import GROWING, SMALL, Recorder, Trouble, growing_steps, plan_of, recording, tables_of
from tests.sites import Says, running_site
from threatcloud import bootstrap
from threatcloud.http.routes import ENDPOINTS


class Run(NamedTuple):
    """What was asked and answered, and what ran for it."""

    stocked: Stock
    statuses: dict[Request, int]
    troubles: list[Trouble]
    tables: set[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Everything asked once of a server whose jobs go round quickly."""
    folder, clock = tmp_path_factory.mktemp("plans"), Clock()
    clock.now = int(time.time() * 1000)
    with pytest.MonkeyPatch.context() as patch, recording() as recorder:
        patch.setattr(bootstrap, "clock", clock)
        patch.setattr(bootstrap, "_HOUR_S", 0.4)
        stocked, statuses = _ask_everything(folder, clock, recorder)
    path = folder / "threat-cloud.db"
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    troubles = [t for item in recorder.statements() for t in growing_steps(item, plan_of(connection, item))]
    yield Run(stocked, statuses, troubles, tables_of(path))
    connection.close()


def _ask_everything(folder: Path, clock: Clock, recorder: Recorder) -> tuple[Stock, dict[Request, int]]:
    with running_site() as site:
        values = b"".join(b"91.242.0.%d\n" % number for number in range(1, 200))
        site.answer = lambda _: Says(200, values if len(site.got) == 1 else b"# nothing\n")
        changes = {"TC_OUTBOUND_ALLOW": "127.0.0.1", "TC_SIGHTINGS_KEPT_MONTHS": "1"}
        return _ask(serve_in(folder, SQLiteEngine(folder), changes), site.url, clock, recorder)


def _ask(server: LiveServer, list_url: str, clock: Clock, recorder: Recorder) -> tuple[Stock, dict[Request, int]]:
    try:
        api = server.client()
        stocked = stock(server, api, list_url)
        statuses: dict[Request, int] = {}
        asked = (item for endpoint in ENDPOINTS if endpoint.method == "GET" for item in reads(endpoint, stocked))
        for request in (*asked, *writes(stocked)):
            recorder.during = f"{request.route} {dict(request.params)}"
            statuses[request] = request.send(api)
        recorder.during = "a list is held"
        have_held(api, clock)
        held = Request("POST /api/feeds/{name}/confirm", "/api/feeds/domain-blocklist/confirm")
        statuses[held] = held.send(api)
    finally:
        server.stop()
    return stocked, statuses


def test_every_route_is_asked_with_every_value_of_every_parameter(run: Run) -> None:
    served: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for request, status in run.statuses.items():
        if status < 300:
            served[request.route] |= {("", ""), *request.params}
    for endpoint in ENDPOINTS:
        route = route_of(endpoint)
        fields = msgspec.structs.fields(endpoint.query)
        wanted = {(f.encode_name, value) for f in fields for value in values_of(route, f, run.stocked)}
        wanted -= {("follow", "true")} if endpoint.streams else set()
        assert wanted | {("", "")} <= served[route], route


def test_every_table_is_known_to_grow_or_to_stay_small(run: Run) -> None:
    assert run.tables == GROWING | SMALL
    assert not GROWING & SMALL


class Allowed(NamedTuple):
    """A step that may be, in the statements that match, and what bounds it."""

    step: str
    statement: str
    why: str

    def covers(self, trouble: Trouble) -> bool:
        """Whether this is the step and the statement."""
        return trouble.step.startswith(self.step) and re.search(self.statement, trouble.statement.sql) is not None


#: Of what requests wait for.
REQUESTS: Final = (
    # Searches, with figures of a million indicators on one core. They run in a scan thread and hold no interpreter.
    Allowed(
        "S",
        r"^SELECT count\(\*\) FROM indicator WHERE",
        "a total that no rollup has: 0.05 to 0.12 s, once for all who ask, kept 100 times as long as it took",
    ),
    Allowed(
        "SCAN indicator",
        r"FROM \((SELECT \* FROM \()?SELECT pk, (reputation|sightings|first_seen|updated_at) FROM indicator WHERE",
        "a page by an order without an index, or of few matches (no more than 8 times as many as were passed over for "
        "it): one pass of 0.07 to 0.2 s. An index for each order costs each write about a tenth more",
    ),
    Allowed(
        "USE TEMP",
        r"FROM \((SELECT \* FROM \()?SELECT pk, (reputation|sightings|first_seen|updated_at) FROM indicator WHERE",
        "only the page is kept while it sorts",
    ),
    Allowed("SEARCH network", r"packed >= \? AND packed <= \?", "the networks in one network"),
    Allowed("SCAN indicator", r"value LIKE '%:%' AND instr", "the hosts of a wide IPv6 network: one pass"),
    Allowed("SEARCH indicator", r"WHERE id >= \? AND id <= \?$", "a 65,536th of the indicators"),
    Allowed("SEARCH indicator", r"WHERE id >= \? AND id <= \? AND listed = 1$", "those with the same first 48 bits"),
    # Pages of other things.
    Allowed(
        "USE TEMP",
        r"FROM sighting .* UNION ALL .* FROM listing WHERE indicator = \?",
        "a page, and one indicator's lists",
    ),
    Allowed(
        "SEARCH e", r"^SELECT count\(\*\) FROM audit_entry e WHERE e.seq >= \? AND", "entries of one index, 20 ns each"
    ),
    Allowed("SCAN agent", r"^SELECT count\(\*\) FROM agent$", "the agents of one operator"),
    Allowed("SEARCH rule", r"published_at >=? \?", "rules people wrote: never truncated, as agents do not page"),
    Allowed("SEARCH g", r"FROM rule_gone g WHERE gone_at > \?", "rules gone since the agent asked last"),
    Allowed(
        "S", r"^SELECT count\(\*\) FROM campaign WHERE merged_into IS NULL", "campaigns: a thousandth of the indicators"
    ),
    Allowed(
        "SCAN campaign",
        r"ORDER BY last_activity DESC, pk DESC LIMIT",
        "in the order of its index, until the page is full",
    ),
    Allowed("SCAN campaign", r"^SELECT last_activity, severity, iocs", "the campaigns, once"),
    Allowed("USE TEMP", r"FROM campaign_member m JOIN \w+ \w .*WHERE m.campaign = \?", "the members of one campaign"),
    Allowed(
        "USE TEMP", r"FROM campaign_member (m JOIN campaign c|WHERE indicator IN)", "the campaigns of some indicators"
    ),
    Allowed("USE TEMP", r"FROM relation r JOIN indicator i .* UNION", "what one indicator is related to"),
    # Statistics: cells of rollups, by hour; how many there are is bounded by the kinds, not by what is reported.
    Allowed("S", r"FROM rollup_(hour|last_seen|technique|trait) WHERE hour >= \?", "the cells of 180 days at most"),
    Allowed(
        "USE TEMP", r"FROM rollup_(hour|last_seen|technique|trait) WHERE hour >= \?", "the cells of 180 days at most"
    ),
    Allowed("SCAN source", r"^SELECT count\(\*\) FROM source$", "the names under which somebody reports"),
    # Feeds.
    Allowed("SEARCH indicator USING", r"group_concat\(value", "a list is rendered whole, once a change"),
    Allowed("USE TEMP", r"FROM sighting INDEXED BY sighting_by_time", "the sightings of a day"),
    Allowed(
        "SEARCH indicator USING COVERING INDEX indicator_shared",
        r"count\(\*\) FROM indicator WHERE type",
        "a walk of an index",
    ),
    Allowed("SEARCH fading", r"^SELECT count\(\*\) FROM fading WHERE type = \?$", "what fades since the round before"),
    Allowed(
        "SEARCH c",
        r"FROM feed_change c .* WHERE c.seq > \? AND c.seq <= \?",
        "a delta: the changes between two versions",
    ),
    # What an operator does now and then.
    Allowed("SEARCH e", r"e.indicator > \? AND e.indicator <= \? AND e.reporter = \?", "a slice of the indicators"),
    Allowed("USE TEMP", r"e.indicator > \? AND e.indicator <= \? AND e.reporter = \?", "a slice of the indicators"),
    Allowed("SCAN campaign_ban", r"^DELETE FROM campaign_ban WHERE indicator = \?$", "what operators took out by hand"),
    Allowed(
        "SEARCH audit_detail", r"instr\(details, \?\) > 0", "an erasure looks at everything that can name the value"
    ),
    Allowed("SCAN campaign", r"SET merged_into = \? WHERE merged_into = \?", "an operator merges campaigns by hand"),
    Allowed("SCAN departed", r"WHERE type = \? AND value = \?$", "an erasure"),
    Allowed(
        "SCAN feed_change", r"^DELETE FROM feed_change WHERE indicator = \?$", "an erasure; kept for as long as deltas"
    ),
    Allowed("SCAN campaign", r"instr\(lower\(name\), \?\)", "an erasure"),
    Allowed(
        "SCAN idempotency",
        r"^SELECT answer, reporter, key FROM idempotency WHERE instr",
        "an erasure; answers are kept for a day",
    ),
    Allowed("SCAN delivery", r"^UPDATE delivery SET body = \?, events = 0", "an erasure; few have a body left"),
    Allowed("S", r"FROM fading WHERE type = \?", "a confirmed list leaves as a whole"),
    Allowed(
        "SEARCH indicator", r"^SELECT id, type, value FROM indicator WHERE type = \? AND \(", "what a new entry covers"
    ),
    Allowed(
        "SCAN allowlist", r"coalesce\(unsettled, ''\) <> 'removed'$", "what operators allowed by hand, when it changes"
    ),
)
#: Of what only runs at the start or in the background, at its own pace.
BACKGROUND: Final = (
    Allowed("SCAN", r" ORDER BY (seq|version) DESC LIMIT 1$", "the newest row"),
    Allowed(
        "SEARCH indicator", r"^SELECT max\(updated_at\) FROM indicator WHERE type = \?$", "the last entry of an index"
    ),
    Allowed("S", r"^SELECT pk, name(, role)? FROM (source|reporter)\b", "names are held in memory"),
    Allowed(
        "SCAN network", r"^SELECT packed, indicator FROM network WHERE indicator > \?$", "networks are held in memory"
    ),
    Allowed("SCAN allowlist", r"WHERE unsettled IS NOT NULL LIMIT", "the entries to be settled"),
    Allowed("S", r"max\(c.seq\) FROM feed_change c .*GROUP BY 1$", "changes since the last release"),
    Allowed("USE TEMP", r"max\(c.seq\) FROM feed_change c .*GROUP BY 1$", "changes since the last release"),
    Allowed("SEARCH f", r"group_concat\(value", "with what fades and is still on it"),
    Allowed("USE TEMP", r"group_concat\(value.* UNION ALL", "with what fades and is still on it"),
    Allowed("SCAN idempotency", r"^DELETE FROM idempotency WHERE created_at < \?$", "hourly, of a day's keys"),
    Allowed("SEARCH indicator", r"pk > \? AND pk <= \? AND next_change_at", "a slice"),
    Allowed("SEARCH sighting", r"pk > \? AND pk <= \? AND observed_at < \?$", "a slice, monthly"),
    Allowed("SEARCH l", r"FROM listing l JOIN .* l.indicator > \? AND l.indicator <= \?", "a slice"),
    Allowed("USE TEMP", r"FROM listing l JOIN .* GROUP BY l.source$", "a slice: a row for each source"),
    Allowed("SCAN", r"FROM (departed|release) WHERE at < \?.* LIMIT \?$", "hourly, of what prune leaves"),
    Allowed("SCAN", r"FROM (leftover|correlation_due)\b", "work that waits: most often none"),
    Allowed("SCAN rollup", r"FROM rollup_\w+ WHERE \w+ = 0.* LIMIT \?$", "hourly, in a scan thread"),
    Allowed("SCAN fading", r"^SELECT 1 FROM fading LIMIT 1$", "whether there is a row"),
    Allowed("SCAN reporter", r"reporter IN \(SELECT pk FROM reporter WHERE name LIKE", "correlation: the reporters"),
    Allowed("SEARCH feed_change", r"^DELETE FROM feed_change WHERE seq <= \?$", "what has served its time"),
    Allowed("USE TEMP", r"^SELECT DISTINCT campaign FROM campaign_member", "the campaigns of some indicators"),
    Allowed("USE TEMP", r"^SELECT DISTINCT m.campaign, e.reporter FROM", "the reporters of some campaigns"),
)


def test_no_statement_costs_more_the_more_is_stored(run: Run) -> None:
    found = [trouble for trouble in run.troubles if not any(item.covers(trouble) for item in (*REQUESTS, *BACKGROUND))]
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("allowed", REQUESTS, ids=lambda item: item.statement)
def test_what_is_allowed_is_still_needed(run: Run, allowed: Allowed) -> None:
    assert any(allowed.covers(trouble) for trouble in run.troubles)
