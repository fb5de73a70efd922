"""The Grafana dashboard asks only for what ``/metrics`` really prints, with the labels it really has."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.engines import SQLiteEngine
from tests.http.conftest import item, serve_in, within

DASHBOARD: Final = Path(__file__).parents[2] / "deploy" / "grafana" / "threat-cloud.json"
#: Put on by whoever scrapes.
_OF_THE_SCRAPE: Final = {"job", "instance"}
_METRIC: Final = re.compile(r"\b((?:threatcloud|process)_\w+)(?:\{([^}]*)\})?")
_GROUPS: Final = re.compile(r"\bby \(([^)]*)\)")
_LEGEND: Final = re.compile(r"\{\{(\w+)\}\}")


def targets() -> Iterator[tuple[str, str]]:
    """(query, legend) of every panel."""
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"], target["legendFormat"]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[str]]]:
    """Every series by name with the labels it has, of a server that has worked a little, with all that may be set."""
    folder = tmp_path_factory.mktemp("server")
    server = serve_in(folder, SQLiteEngine(folder), {"TC_REDIS_URL": f"unix://{folder}/none"})
    operator = server.client()
    operator.report(item())

    def series() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(operator.get("/metrics").text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        found.setdefault("threatcloud_feed_held_entries", {"feed"})  # no list is held
        return found

    assert within(10, lambda: series().keys() >= {"threatcloud_job_seconds", "threatcloud_feed_entries"})
    yield series()
    server.stop()


@pytest.mark.parametrize(("query", "legend"), list(targets()))
def test_what_it_asks_for_is_printed(printed: dict[str, set[str]], query: str, legend: str) -> None:
    asked = _METRIC.findall(query)
    assert asked
    known = set(_OF_THE_SCRAPE)
    for name, matchers in asked:
        assert name in printed, name
        matched = set(re.findall(r"(\w+)=~?\"", matchers))
        assert matched <= printed[name] | _OF_THE_SCRAPE, name
        known |= printed[name]
    for names in _GROUPS.findall(query):
        assert set(names.split(", ")) <= known
    assert set(_LEGEND.findall(legend)) <= known


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_figure_of_ours_is_on_it(printed: dict[str, set[str]]) -> None:
    asked = {name for query, _ in targets() for name, _ in _METRIC.findall(query)}
    ours = {name for name in printed if name.startswith("threatcloud_")}
    stems = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in ours}
    assert {stem for stem in stems if not any(name.startswith(stem) for name in asked)} == set()
