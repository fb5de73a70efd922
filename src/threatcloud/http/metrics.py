"""Figures for Prometheus: counted in plain dictionaries on the hot path, shaped when they are scraped."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from threatcloud import __version__
from threatcloud.domain.times import SECOND_MS
from threatcloud.storage.store import ReplicaFigures

if TYPE_CHECKING:
    from threatcloud.http.context import Services

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LIMITS: Final = ("read", "write", "feed", "anonymous", "failed authentication")
MEDIA: Final = "text/plain; version=0.0.4; charset=utf-8"


class RequestFigures:
    """Requests by route, method and status, how long routes take, and what limits refused."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], int] = {}
        self.seconds: dict[str, list[float]] = {}
        #: Requests that a limit refused, by its class.
        self.refusals: dict[str, int] = dict.fromkeys(_LIMITS, 0)

    def note(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts one request."""
        key = (route, method, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        cells = self.seconds.get(route)
        if cells is None:
            cells = self.seconds[route] = [0.0] * (len(BUCKETS_S) + 2)
        cells[bisect_left(BUCKETS_S, seconds)] += 1
        cells[-1] += seconds

    def note_refusal(self, rate_class: str) -> None:
        """Counts one request that a limit refused."""
        self.refusals[rate_class] = self.refusals.get(rate_class, 0) + 1

    def take(self) -> tuple[dict[tuple[str, str, int], int], dict[str, list[float]], dict[str, int]]:
        """What was counted since, for another process to add; here it is forgotten."""
        taken = self.requests, self.seconds, self.refusals
        self.requests, self.seconds, self.refusals = {}, {}, {}
        return taken

    def add(
        self,
        requests: Mapping[tuple[str, str, int], int],
        seconds: Mapping[str, list[float]],
        refusals: Mapping[str, int],
    ) -> None:
        """Counts what another process has counted."""
        for key, count in requests.items():
            self.requests[key] = self.requests.get(key, 0) + count
        for route, cells in seconds.items():
            known = self.seconds.get(route, [0.0] * len(cells))
            self.seconds[route] = [ours + theirs for ours, theirs in zip(known, cells, strict=True)]
        for rate_class, count in refusals.items():
            self.refusals[rate_class] = self.refusals.get(rate_class, 0) + count


class _Figures(Collector):
    def __init__(self, requests: RequestFigures, services: "Services") -> None:
        self._requests = requests
        self._services = services

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("threatcloud_uptime_seconds", "Time since the start.", self._services.uptime_s())
        version = GaugeMetricFamily("threatcloud_version", "1, with the version as label.", labels=("version",))
        version.add_metric((__version__,), 1)
        yield version
        yield from self._collect_requests()
        yield from self._collect_limits()
        yield from self._collect_store()
        yield from self._collect_feeds()
        yield from self._collect_jobs()

    def _collect_requests(self) -> Iterator[Metric]:
        counts = CounterMetricFamily("threatcloud_requests", "Requests answered.", labels=("route", "method", "status"))
        for (route, method, status), answered in self._requests.requests.items():
            counts.add_metric((route, method, str(status)), answered)
        yield counts
        times = HistogramMetricFamily("threatcloud_request_seconds", "Time to answer.", labels=("route",))
        for route, cells in self._requests.seconds.items():
            total, buckets = 0.0, []
            for edge, count in zip((*map(str, BUCKETS_S), "+Inf"), cells[:-1], strict=True):
                total += count
                buckets.append((edge, total))
            times.add_metric((route,), buckets, cells[-1])
        yield times

    def _collect_limits(self) -> Iterator[Metric]:
        refused = CounterMetricFamily("threatcloud_limit_refusals", "Requests refused by a limit.", labels=("limit",))
        for rate_class, count in self._requests.refusals.items():
            refused.add_metric((rate_class,), count)
        yield refused
        if self._services.shared_limiter is None:
            return
        shared = self._services.shared_limiter.figures()
        yield GaugeMetricFamily("threatcloud_limits_shared", "1: limits hold over all nodes.", int(shared.is_shared))
        yield CounterMetricFamily("threatcloud_limits_redis_failures", "Calls Redis did not answer.", shared.failures)
        alone = "Requests counted by this node alone, for want of Redis."
        yield CounterMetricFamily("threatcloud_limits_local", alone, shared.alone)

    def _collect_store(self) -> Iterator[Metric]:
        work = self._services.store.workload()
        yield GaugeMetricFamily("threatcloud_writer_waiting_units", "Units of work that wait.", work.waiting)
        yield CounterMetricFamily("threatcloud_writer_commits", "Transactions committed.", work.commits)
        yield CounterMetricFamily("threatcloud_writer_units", "Units of work committed.", work.units)
        yield CounterMetricFamily("threatcloud_writer_busy_seconds", "Time the writer was at work.", work.busy_s)
        seen = "Commits seen, of this process and of others on the same database."
        yield CounterMetricFamily("threatcloud_commits_seen", seen, self._services.store.figures().commits)
        pools = ("size", "Threads of a pool at most."), ("busy", "Threads that work."), ("waiting", "Reads that wait.")
        for name, meaning in pools:
            family = GaugeMetricFamily(f"threatcloud_pool_{name}", meaning, labels=("pool",))
            for pool, figures in work.pools.items():
                family.add_metric((pool,), getattr(figures, name))
            yield family

        yield from _collect_replica(work.replica)

    def _collect_feeds(self) -> Iterator[Metric]:
        waiting = "For how long what may have changed lists has waited to be published; 0: nothing waits."
        yield GaugeMetricFamily("threatcloud_feed_waiting_seconds", waiting, self._services.publisher.waiting_s())
        entries = GaugeMetricFamily("threatcloud_feed_entries", "Entries of a published list.", labels=("feed",))
        size = GaugeMetricFamily(
            "threatcloud_feed_bytes", "Bytes of a published list in all codings.", labels=("feed",)
        )
        changed = GaugeMetricFamily("threatcloud_feed_changed_seconds", "When a list last changed.", labels=("feed",))
        for name, published in self._services.publisher.figures().items():
            entries.add_metric((name,), published.entries)
            size.add_metric((name,), published.size)
            changed.add_metric((name,), published.generated_at / SECOND_MS)
        yield entries
        yield size
        yield changed
        held = GaugeMetricFamily(
            "threatcloud_feed_held_entries", "Entries a held list keeps until it is confirmed.", labels=("feed",)
        )
        for name, kept in self._services.holding.held_back.items():
            held.add_metric((name,), kept)
        yield held

    def _collect_jobs(self) -> Iterator[Metric]:
        ended = GaugeMetricFamily("threatcloud_job_seconds", "When a job last ended.", labels=("job", "outcome"))
        took = GaugeMetricFamily("threatcloud_job_duration_seconds", "How long its last run took.", labels=("job",))
        failed = CounterMetricFamily("threatcloud_job_failures", "Runs of a job that failed.", labels=("job",))
        for job in self._services.jobs():
            failed.add_metric((job.name,), job.failures)
            if job.last is not None and job.last.finished_at is not None:
                ended.add_metric((job.name, job.last.outcome), job.last.finished_at / SECOND_MS)
                took.add_metric((job.name,), (job.last.finished_at - job.last.started_at) / SECOND_MS)
        yield ended
        yield took
        yield failed


def _collect_replica(replica: ReplicaFigures) -> Iterator[Metric]:
    used = "1: reads go to the replica. 0: to the primary, for want of it."
    yield GaugeMetricFamily("threatcloud_replica_used", used, int(replica.is_used))
    lag = "For how long the replica has lacked a commit that is known here."
    yield GaugeMetricFamily("threatcloud_replica_lag_seconds", lag, replica.lag_s)
    yield CounterMetricFamily("threatcloud_replica_reads", "Reads the replica answered.", replica.answered)
    instead = "Reads the primary answered: the replica had not replayed yet what they must see, or was set aside."
    fallbacks = CounterMetricFamily("threatcloud_replica_fallbacks", instead, labels=("reason",))
    fallbacks.add_metric(("behind",), replica.behind)
    fallbacks.add_metric(("away",), replica.away)
    yield fallbacks


def render(requests: RequestFigures, services: "Services") -> bytes:
    """All figures in the Prometheus text format, with those that every process has (memory, files, CPU)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(requests, services))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
