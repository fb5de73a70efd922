"""Figures for Prometheus: counted in plain dictionaries on the hot path, shaped when they are scraped."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from threatcloud.domain.times import SECOND_MS

if TYPE_CHECKING:
    from threatcloud.http.context import Services

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
MEDIA: Final = "text/plain; version=0.0.4; charset=utf-8"


class RequestFigures:
    """Requests by route, method and status, and how long routes take."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, int], int] = {}
        self.seconds: dict[str, list[float]] = {}

    def note(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts one request."""
        key = (route, method, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        cells = self.seconds.get(route)
        if cells is None:
            cells = self.seconds[route] = [0.0] * (len(BUCKETS_S) + 2)
        cells[bisect_left(BUCKETS_S, seconds)] += 1
        cells[-1] += seconds

    def take(self) -> tuple[dict[tuple[str, str, int], int], dict[str, list[float]]]:
        """What was counted since, for another process to add; here it is forgotten."""
        taken = self.requests, self.seconds
        self.requests, self.seconds = {}, {}
        return taken

    def add(self, requests: Mapping[tuple[str, str, int], int], seconds: Mapping[str, list[float]]) -> None:
        """Counts what another process has counted."""
        for key, count in requests.items():
            self.requests[key] = self.requests.get(key, 0) + count
        for route, cells in seconds.items():
            known = self.seconds.get(route, [0.0] * len(cells))
            self.seconds[route] = [ours + theirs for ours, theirs in zip(known, cells, strict=True)]


class _Figures(Collector):
    def __init__(self, requests: RequestFigures, services: "Services") -> None:
        self._requests = requests
        self._services = services

    def collect(self) -> Iterator[Metric]:
        yield from self._collect_requests()
        yield from self._collect_writer()
        yield from self._collect_feeds()

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

    def _collect_writer(self) -> Iterator[Metric]:
        figures = self._services.store.figures()
        yield GaugeMetricFamily("threatcloud_writer_waiting_units", "Units of work that wait.", figures.waiting)
        yield CounterMetricFamily("threatcloud_writer_commits", "Transactions committed.", figures.commits)
        yield CounterMetricFamily("threatcloud_writer_units", "Units of work committed.", figures.units)

    def _collect_feeds(self) -> Iterator[Metric]:
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
        jobs = GaugeMetricFamily("threatcloud_job_seconds", "When a job last ended.", labels=("job", "outcome"))
        for run in self._services.job_runs():
            jobs.add_metric((run.name, run.outcome), (run.finished_at or 0) / SECOND_MS)
        yield jobs


def render(requests: RequestFigures, services: "Services") -> bytes:
    """All figures in the Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(requests, services))
    return generate_latest(registry)
