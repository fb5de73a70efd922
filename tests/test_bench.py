"""The pieces of the benchmark: what it reads, judges, fills and shows. Nothing here is timed."""

import asyncio
import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bench.values
import msgspec
import pytest
from bench import fill, formats, history, plot, reads, registry, report, results, sqlite_floor, stores, wrk
from bench.figures import NotMeasured, flatness, medians, parse_wanted, verdict, with_ratios
from bench.results import Line, Result
from bench.sizes import SIZES, Size
from bench.values import values

from tests.services import truth
from threatcloud.domain.indicator import IndicatorType, detect
from threatcloud.domain.report import CATEGORIES, SightingKind
from threatcloud.domain.reputation import BLOCK_REPUTATION
from threatcloud.domain.times import DAY_MS
from threatcloud.formats.feeds import NAMES, find_format
from threatcloud.storage import indicators
from threatcloud.storage.names import Names

ROOT = Path(__file__).parents[1]
NOW = truth.START
TINY = Size("tiny", 200, 1_000)

PRINTED = """Running 1s test @ http://127.0.0.1:4000
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.33ms  612.00us  11.20ms   91.33%
  24057 requests in 2.00s, 11.20MB read
  Non-2xx or 3xx responses: 7
Requests/sec:  12028.50
@figures {"requests": 24057, "duration_us": 2000000, "p50_us": 1250, "p99_us": 3017, "refused": 7, "broken": 1}
"""


@pytest.fixture(scope="module", autouse=True)
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Without the real data beside the checkout, which take long to read."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bench.values, "REAL", tmp_path_factory.mktemp("no-data"))
        patched.setitem(SIZES, TINY.name, TINY)
        yield


class TestWrk:
    def test_its_figures_are_read(self) -> None:
        assert wrk.parse(PRINTED) == wrk.Load(12028.5, 1.25, 3.017, 24057, 7, 1)

    def test_an_output_without_figures_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="no figures"):
            wrk.parse(PRINTED.partition("@")[0])

    def test_the_script_prints_what_is_read(self, tmp_path: Path) -> None:
        text = wrk.write_script(tmp_path, "GET", None, ["/a"], {}).read_text("utf-8")
        told = text[text.index("@figures") : text.index("\\n'")].replace("%d", "1000000")
        assert wrk.parse(told) == wrk.Load(1_000_000, 1000, 1000, 1_000_000, 1_000_000, 1_000_000)

    def test_paths_are_asked_and_bodies_are_sent(self, tmp_path: Path) -> None:
        asking = wrk.write_script(tmp_path, "GET", None, ["/a", "/b"], {"If-None-Match": '"x"'}).read_text("utf-8")
        assert 'wrk.format("GET", line)' in asking
        assert 'wrk.headers["If-None-Match"] = "\\"x\\""' in asking
        assert (tmp_path / "lines.txt").read_text("utf-8") == "/a\n/b\n"
        sending = wrk.write_script(tmp_path, "POST", "/api/x", ["{}"], {}).read_text("utf-8")
        assert 'wrk.format("POST", "/api/x", nil, line)' in sending
        assert 'wrk.headers["Content-Type"] = "application/json"' in sending


class TestAnswers:
    def test_what_is_answered_as_it_should_counts(self) -> None:
        reads.check(wrk.Load(10.0, 1.0, 2.0, 10, 0, 0))
        reads.check(wrk.Load(10.0, 1.0, 2.0, 10, 10, 0), is_refusal=True)

    @pytest.mark.parametrize(
        ("refused", "broken", "requests", "is_refusal"),
        [(1, 0, 10, False), (0, 1, 10, False), (9, 0, 10, True), (0, 0, 0, False)],
    )
    def test_any_other_answer_and_none_do_not(self, refused: int, broken: int, requests: int, is_refusal: bool) -> None:
        with pytest.raises(NotMeasured, match="were refused"):
            reads.check(wrk.Load(10.0, 1.0, 2.0, requests, refused, broken), is_refusal=is_refusal)


class TestWanted:
    @pytest.mark.parametrize(
        ("wanted", "figures", "expected"),
        [
            ("", {"ratio": 0.1}, ""),
            ("ratio >= 0.5", {"ratio": 0.5}, "met"),
            ("ratio >= 0.5", {"ratio": 0.499}, "ratio not met"),
            ("p99 ms <= 20", {"p99 ms": 20.0}, "met"),
            ("p99 ms <= 20", {"p99 ms": 20.1}, "p99 ms not met"),
            ("ratio >= 0.5, p99 ms <= 20", {"ratio": 0.4, "p99 ms": 30.0}, "ratio not met, p99 ms not met"),
            ("flat >= 0.9", {"ratio": 0.5}, "flat not measured"),
            ("MB/s >= 500 or ratio >= 0.8", {"MB/s": 100.0, "ratio": 0.9}, "met"),
            ("MB/s >= 500 or ratio >= 0.8", {"MB/s": 600.0, "ratio": 0.1}, "met"),
            ("MB/s >= 500 or ratio >= 0.8", {"MB/s": 100.0, "ratio": 0.1}, "MB/s not met"),
        ],
    )
    def test_verdicts(self, wanted: str, figures: dict[str, float], expected: str) -> None:
        assert verdict(wanted, figures) == expected

    @pytest.mark.parametrize("text", ["ratio > 0.5", "ratio >= high", ">= 0.5", "ratio"])
    def test_what_is_no_condition_is_an_error(self, text: str) -> None:
        with pytest.raises(ValueError, match="is no condition"):
            parse_wanted(text)

    def test_every_row_has_a_name_of_its_own_and_readable_wishes(self) -> None:
        assert len({row.name for row in registry.ROWS}) == len(registry.ROWS)
        assert all(parse_wanted(row.wanted) for row in registry.ROWS if row.wanted)

    def test_rows_are_chosen_by_a_part_of_their_name(self) -> None:
        assert registry.chosen([]) == registry.ROWS
        assert [row.name for row in registry.chosen(["304", "weeks"])] == ["blocklist, 304", "timeseries, weeks"]
        with pytest.raises(ValueError, match="no row is named 'else'"):
            registry.chosen(["geo", "else"])


class TestCommand:
    @staticmethod
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    def test_the_list_shows_every_row_with_what_is_wanted(self) -> None:
        shown = self.run("--list").stdout
        assert [line.strip() for line in shown.splitlines()] == [
            f"{row.name:32} {row.wanted}".strip() for row in registry.ROWS
        ]

    def test_help_has_examples(self) -> None:
        assert "python -m bench --quick" in self.run("--help").stdout

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--rows", "else"], "no row is named 'else'"),
            (["--sizes", "10k,2m"], "no size '2m'; there are 10k, 100k, 1m"),
        ],
    )
    def test_what_there_is_not_is_refused_with_what_there_is(self, arguments: list[str], said: str) -> None:
        done = self.run(*arguments)
        assert done.returncode == 2
        assert said in done.stderr


class TestFigures:
    def test_the_median_of_each_figure_counts(self) -> None:
        rounds = [{"a": 1.0, "b": 9.0}, {"a": 3.0, "b": 7.0}, {"a": 2.0, "b": 8.0}]
        assert medians(rounds) == {"a": 2.0, "b": 8.0}

    def test_the_ratio_is_the_median_of_ratios_not_the_ratio_of_medians(self) -> None:
        found = with_ratios({"a": 1.0}, [(10.0, 100.0), (90.0, 100.0), (60.0, 120.0)])
        assert found == {"a": 1.0, "floor/s": 100.0, "ratio": 0.5}

    def test_flatness_goes_by_ratios_and_else_by_rates(self) -> None:
        assert flatness({"ratio": 0.4, "requests/s": 50}, {"ratio": 0.5, "requests/s": 200}) == pytest.approx(0.8)
        assert flatness({"requests/s": 50}, {"requests/s": 200}) == 0.25
        assert flatness({"start s": 1.0}, {"start s": 1.0}) is None

    def test_a_line_says_how_flat_it_is_only_where_the_smallest_size_was_measured(self) -> None:
        wanted = "flat >= 0.9"
        assert results.judged("x", "1m", {"ratio": 0.4}, wanted, {"ratio": 0.5}).verdict == "flat not met"
        assert results.judged("x", "10k", {"ratio": 0.4}, wanted, {"ratio": 0.4}).verdict == "met"
        assert results.judged("x", "1m", {"ratio": 0.4}, wanted, None).verdict == "flat not measured"


class TestValues:
    @pytest.mark.parametrize(
        ("kind", "name"), [("ips", "ip"), ("domains", "domain"), ("urls", "url"), ("hashes", "hash")]
    )
    def test_a_later_part_goes_on_where_an_earlier_one_ended(self, kind: str, name: str) -> None:
        whole = values(kind, 0, 40)
        assert whole == values(kind, 0, 15) + values(kind, 15, 25)
        assert len(set(whole)) == 40
        assert {detect(value).type for value in whole} == {IndicatorType(name)}

    def test_real_ones_come_first_and_only_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made_up = values("ips", 0, 3)
        with gzip.open(tmp_path / "feed_ips.txt.gz", "wt") as file:
            file.write(f"#value\tsources\n198.51.100.1\ta\n{made_up[1]}\tb\n")
        monkeypatch.setattr(bench.values, "REAL", tmp_path)
        found = values("ips", 0, 4)
        assert set(found[:2]) == {"198.51.100.1", made_up[1]}
        assert found[2:] == [made_up[0], made_up[2]]
        assert bench.values.origin("ips", 2) == "feed_ips.txt.gz"
        assert bench.values.origin("ips", 3) == "feed_ips.txt.gz and generated"


class TestHistory:
    def test_there_are_as_many_sightings_as_asked_for(self) -> None:
        for count, sightings in ((1, 7), (10, 3), (17, 100), (64, 640)):
            told = list(history.past(count, sightings, NOW))
            assert len(told) == count
            assert sum(map(len, told)) == sightings

    def test_they_are_spread_over_ninety_days_and_everything_there_is(self) -> None:
        seen = [item for told in history.past(2_000, 20_000, NOW) for item in told]
        days = Counter((NOW - item.observed_at) // DAY_MS for item in seen)
        assert set(days) == set(range(history.DAYS))
        assert {item.said[1] for item in seen} == set(CATEGORIES)
        assert {item.said[0] for item in seen} == {SightingKind.POSITIVE}
        assert {item.reporter for item in seen} == set(history.REPORTERS)
        assert len({item.source for item in seen}) == 3
        assert len({item.said[4].get("mitreId") for item in seen}) > 20

    def test_the_same_seed_tells_the_same(self) -> None:
        assert list(history.past(50, 500, NOW)) == list(history.past(50, 500, NOW))


@dataclass
class FilledStore:
    folder: Path
    told: fill.Filled


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> FilledStore:
    folder = tmp_path_factory.mktemp("filled")
    return FilledStore(folder, stores.provide(folder / "facts.db", TINY, folder))


class TestFill:
    def test_the_store_holds_what_it_says(self, filled: FilledStore) -> None:
        told = filled.told
        with truth.System(filled.folder / "facts.db") as system:
            assert system.read(lambda db: db.row("SELECT count(*) FROM indicator")) == (told.indicators,)
            found = system.read(lambda db: db.row("SELECT count(*), count(DISTINCT kind) FROM sighting"))
            assert found == (told.sightings, 1) == (TINY.sightings, 1)
            delta = system.read(
                lambda db: db.row(
                    "SELECT count(*) FROM feed_change WHERE seq > (SELECT seq FROM release WHERE version = ?)",
                    (told.version,),
                )
            )
        assert told.indicators == TINY.indicators + 20 + fill.delta_values(TINY)
        assert delta is not None
        assert 0 < int(delta[0] or 0) <= fill.delta_values(TINY)

    def test_every_rollup_is_what_counting_the_facts_gives(self, filled: FilledStore) -> None:
        with truth.System(filled.folder / "facts.db") as system:
            names = Names()
            system.read(names.load)
            keys = [key for (key,) in system.read(lambda db: db.rows("SELECT id FROM indicator"))]
            states = list(system.read(lambda db: indicators.find_many(db, keys, names)).values())
            facts = {state.pk: system.read(lambda db, pk=state.pk: truth.facts_of(db, pk)) for state in states}  # type: ignore[misc]
            truth.check_rollups(system, states, facts)
            assert all(state.sightings == len(facts[state.pk]) for state in states)
            counted = system.read(
                lambda db: db.rows(
                    "SELECT hour, category, 'port', CAST(port AS TEXT), count(*) FROM (SELECT observed_at / 3600000 "
                    "AS hour, category, json_extract(context, '$.port') AS port FROM sighting) GROUP BY 1, 2, 4 "
                    "UNION ALL SELECT observed_at / 3600000, category, 'country', country, count(*) FROM sighting "
                    "WHERE country IS NOT NULL GROUP BY 1, 2, 4 "
                    "UNION ALL SELECT hour, category, 'technique', id, count(*) FROM (SELECT observed_at / 3600000 AS "
                    "hour, category, json_extract(context, '$.mitreId') AS id FROM sighting) WHERE id IS NOT NULL "
                    "GROUP BY 1, 2, 4"
                )
            )
            stored = system.read(lambda db: db.rows("SELECT hour, category, kind, value, sightings FROM rollup_trait"))
        assert sorted(stored) == sorted(counted)

    def test_nothing_is_left_for_correlation(self, filled: FilledStore) -> None:
        with truth.System(filled.folder / "facts.db") as system:
            (place,) = system.read(lambda db: db.row("SELECT value FROM meta WHERE name = 'correlation'")) or ("",)
            last = system.read(lambda db: db.row("SELECT max(updated_at) FROM indicator"))
        assert last is not None
        assert place.split()[0] == str(last[0])
        assert place.split()[2] == str(TINY.sightings)

    def test_a_kept_store_is_used_again(self, filled: FilledStore, tmp_path: Path) -> None:
        assert stores.provide(tmp_path / "again.db", TINY, filled.folder) == filled.told
        note = msgspec.json.decode((filled.folder / "tiny.json").read_bytes(), type=stores.Note)
        assert note == stores.Note(stores.recipe(), filled.told)
        kept = (filled.folder / "tiny.db").read_bytes()
        assert (tmp_path / "again.db").read_bytes() == kept

    @pytest.mark.parametrize("is_readable", [True, False])
    def test_a_store_made_by_another_version_is_filled_anew(
        self, filled: FilledStore, is_readable: bool, tmp_path: Path
    ) -> None:
        note = msgspec.json.encode(stores.Note("another", filled.told)) if is_readable else b"{}"
        (tmp_path / "tiny.json").write_bytes(note)
        (tmp_path / "tiny.db").write_bytes(b"something old")
        made = stores.provide(tmp_path / "new.db", Size("tiny", 2, 4), tmp_path)
        assert made.sightings == 4

    def test_the_floor_of_writes_is_durable_and_commits_whole_groups(self, tmp_path: Path) -> None:
        sqlite_floor.make(tmp_path / "floor.db", 50)
        assert sqlite_floor.loop(tmp_path / "floor.db", 7, 0.0, 0.0001)["rows/s"] > 0
        connection = sqlite_floor.open_database(tmp_path / "floor.db")
        rows = int(str(connection.execute("SELECT count(*) FROM item").get))
        assert rows > 50
        assert (rows - 50) % 7 == 0
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        assert connection.execute("PRAGMA synchronous").fetchall() == [(2,)]
        connection.close()


def result(*lines: Line) -> Result:
    return Result("20260307-080000", {"cores": 2}, 3, 3, [], list(lines))


LINES = (
    Line("look-up", "10k", {"requests/s": 12345.0, "flat": 1.0, "p99/floor": 2.5}, "ratio >= 0.5", "ratio not met"),
    Line("start", "10k", {"start s": 0.5}, "", ""),
    Line("look-up", "1m", {"requests/s": 12000.0, "flat": 0.97}, "ratio >= 0.5", "met"),
)


class TestReport:
    def test_a_result_is_read_as_it_was_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
        part = results.save(result(LINES[0]), whole=False)
        assert part.exists()
        assert results.newest() is None
        path = results.save(result(*LINES), whole=True)
        assert results.newest() == path
        assert results.load(path) == result(*LINES)
        assert not part.exists()
        assert json.loads(path.read_text("utf-8"))["lines"][0]["row"] == "look-up"

    def test_the_table_has_the_sizes_of_a_row_together(self) -> None:
        lines = report.table(result(*LINES)).splitlines()
        assert [line.split(" | ")[:2] for line in lines[2:]] == [
            ["| look-up", "10k"],
            ["| look-up", "1m"],
            ["| start", "10k"],
        ]
        assert "12,345" in lines[2]
        assert "p99/floor 2.5" in lines[2]
        assert lines[2].endswith("| ratio >= 0.5 | ratio not met |")
        assert len({line.count(" | ") for line in lines}) == 1

    def test_the_document_gets_the_table_and_keeps_its_words(self) -> None:
        text = "before\n<!-- measured -->\nold\n<!-- end -->\nafter\n"
        renewed = report.renewed(text, result(*LINES))
        assert renewed.startswith("before\n<!-- measured -->\n")
        assert "Run `20260307-080000`" in renewed
        assert ("](performance.svg)" in renewed) == plot.PICTURE.exists()
        assert renewed.endswith("<!-- end -->\nafter\n")
        assert report.renewed(renewed, result(*LINES)) == renewed
        with pytest.raises(ValueError, match="needs one"):
            report.renewed("no place", result(*LINES))

    def test_the_document_shows_the_newest_result_that_is_kept(self) -> None:
        newest = results.newest()
        assert newest is not None
        text = report.DOCUMENT.read_text("utf-8")
        assert report.renewed(text, results.load(newest)) == text, "run: python -m bench.report --write"


class TestFormats:
    """Once, with few values: a process renders each, so that formats that are alike need not be tried again."""

    def test_a_format_is_measured_beside_the_floor(self, tmp_path: Path) -> None:
        path = tmp_path / "few.db"
        asyncio.run(formats.fill(path, [IndicatorType.IP], 300))
        for name in ("plain", "json"):
            found = formats.measure(path, find_format(name))
            assert found["entries"] == 300
            assert found["body MB"] > 0
            assert found.keys() == {"entries", "CPU s", "seconds", "body MB", "peak MB"}

    def test_the_plain_list_comes_first_whatever_is_chosen(self) -> None:
        assert [one.name for one in formats.chosen(["stix", "plain"])] == ["plain", "stix"]
        assert {one.name for one in formats.chosen([])} == set(NAMES)

    def test_no_two_rows_have_the_same_times(self) -> None:
        found = list(formats.rows(IndicatorType.IP, values("ips", 0, 50), NOW))
        first_seen, reputation = (formats.COLUMNS.index(name) for name in ("first_seen", "reputation"))
        assert len({row[first_seen] for row in found}) == len(found) == 50
        assert {len(row) for row in found} == {len(formats.COLUMNS)}
        assert max(int(str(row[reputation])) for row in found) <= BLOCK_REPUTATION

    def test_a_line_says_how_many_floors_a_format_costs(self) -> None:
        shown = formats.line(find_format("csv"), {"entries": 1e6, "CPU s": 3.0, "body MB": 7.5, "peak MB": 123.4}, 1.5)
        assert shown == "| csv | ip | 1,000,000 | 3.0 | 7.5 | 123 | 2.0 |"


class TestPlot:
    def test_rows_measured_at_several_sizes_are_shown(self) -> None:
        assert plot.series(result(*LINES)) == {"look-up": {"10k": 1.0, "1m": 0.97}}

    def test_the_picture_names_them(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib", reason="of the dependency group bench")
        plot.draw(result(*LINES), tmp_path / "x.svg")
        text = (tmp_path / "x.svg").read_text("utf-8")
        assert "look-up" in text
        assert "0.97" in text
        assert "start" not in re.findall(r">([^<>]+)</text>", text)

    def test_a_run_of_one_size_is_refused(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib", reason="of the dependency group bench")
        with pytest.raises(SystemExit, match="nothing to draw"):
            plot.draw(result(*LINES[:2]), tmp_path / "x.svg")

    def test_without_matplotlib_it_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(SystemExit, match="pip install"):
            plot.draw(result(*LINES), tmp_path / "x.svg")
