"""Every row of the table, in the order of measuring: what only reads comes before what writes."""

from bench import background, correlating, server, workers, writes
from bench.background import BLOCKLIST, lookups_while
from bench.reads import known_values, load, many_values, pages, path, revalidation, since, unknown_values
from bench.rows import Row
from bench.writes import posting

_CHART = "requests/s >= 1000, p99 ms <= 5"
_SEARCH = "requests/s >= 1500, flat >= 0.8"
_WHOLE = "MB/s >= 500 or ratio >= 0.8"
_CALM = "p99 ms <= 20"

ROWS = (
    Row("look-up, known", load(known_values), "ratio >= 0.45, p99/floor <= 3, flat >= 0.9"),
    Row("look-up, unknown", load(unknown_values)),
    Row("health", load(path("/health")), "ratio >= 0.5"),
    Row("search, pages 1-20", load(pages()), _SEARCH),
    Row("search, status and reputation", load(pages("&status=active&minReputation=1")), _SEARCH),
    Row("search, category", load(pages("&category=c2")), _SEARCH),
    Row("search, country", load(pages("&country=DE")), _SEARCH),
    Row("look-up of 10,000", load(many_values, 1, items=10_000), "p99 ms <= 100, values/s >= 100000"),
    Row("blocklist, 304", load(revalidation(BLOCKLIST)), "ratio >= 0.5"),
    Row("blocklist, zstd", load(path(BLOCKLIST, accept_encoding="zstd"), 4, payload=True), _WHOLE),
    Row("blocklist, gzip", load(path(BLOCKLIST, accept_encoding="gzip"), 4, payload=True), _WHOLE),
    Row("delta of a day, text", load(since(f"{BLOCKLIST}?since="), 1), "p50 ms <= 2"),
    Row("delta of a day, agents", load(since("/api/feeds/agent-update?delta=true&currentVersion="), 1), "p50 ms <= 2"),
    Row("stats", load(path("/api/stats"), 10), _CHART),
    Row("timeseries, hours", load(path("/api/query/timeseries?granularity=hour&period=7d"), 10), _CHART),
    Row("timeseries, days", load(path("/api/query/timeseries?granularity=day&period=30d"), 10), _CHART),
    Row("timeseries, weeks", load(path("/api/query/timeseries?granularity=week&period=90d"), 10), _CHART),
    Row("geo, 30 days", load(path("/api/query/geo"), 10), _CHART),
    Row("geo, 90 days", load(path("/api/query/geo?period=90d"), 10), _CHART),
    Row("trends, 7 days", load(path("/api/query/trends"), 10), _CHART),
    Row("trends, 45 days", load(path("/api/query/trends?periodDays=45"), 10), _CHART),
    Row("mitre-heatmap, 30 days", load(path("/api/query/mitre-heatmap"), 10), _CHART),
    Row("mitre-heatmap, 90 days", load(path("/api/query/mitre-heatmap?period=90d"), 10), _CHART),
    Row("campaigns, stats", load(path("/api/campaigns/stats"), 10), _CHART),
    Row("campaigns", load(path("/api/campaigns"), 10)),
    Row("feed of indicators", load(path("/api/feeds/iocs?limit=100"), 10)),
    Row("audit-log", load(path("/api/audit-log"), 10)),
    Row("look-up, 2 processes", workers.measure),
    Row("memory, after reads", server.memory, "RssAnon MB <= 300"),
    Row("start", server.starting, "start s <= 1.5"),
    Row(
        "threats x 100",
        posting("/api/threats", writes.threats, 16, items=100, group=100, known_share=0.5),
        "items/s >= 8000, ratio >= 0.4, p99 ms <= 500",
    ),
    Row(
        "sightings, single",
        posting("/api/sightings", writes.sightings, 64, items=1, group=64, known_share=1.0),
        "items/s >= 3000",
    ),
    Row("import of 100,000", writes.importing, "rows/s >= 25000"),
    Row("change to list", background.publishing, "published s <= 2"),
    Row("look-up while lists change", lookups_while(background.rebuilding), _CALM),
    Row("look-up during backups", lookups_while(background.backing_up), _CALM),
    Row("look-up during correlation", lookups_while(background.correlating), _CALM),
    Row("look-up during imports", lookups_while(background.importing), _CALM),
    Row("memory, after writes", server.memory, "RssAnon MB <= 300"),
    Row("correlation from nothing", correlating.measure, "indicators s <= 60, 10k new s <= 1"),
)


def chosen(names: list[str]) -> tuple[Row, ...]:
    """The rows whose names contain one of these words (all of them when there are none); ValueError for no row."""
    for name in names:
        if not any(name in row.name for row in ROWS):
            raise ValueError(f"no row is named {name!r}; --list shows them")
    return tuple(row for row in ROWS if not names or any(name in row.name for name in names))
