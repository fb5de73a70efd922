"""Requests under load, each against a floor that answers the same bytes; server and floor take turns."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import machine, processes, wrk
from bench.figures import Figures, NotMeasured, medians, with_ratios
from bench.rows import Measure
from bench.served import KEY, Answer, Site

_VALUES = 5_000
_LOOKUP_VALUES = 10_000
_LOOKUP_BODIES = 8


class Asked(NamedTuple):
    """What is sent in turn: paths, or bodies of JSON to a target; with what headers, and the status it gets."""

    lines: Sequence[str]
    headers: Mapping[str, str] = {}
    target: str | None = None
    status: int = 200


Ask = Callable[[Site], Asked]


def path(text: str, **headers: str) -> Ask:
    """One path, over and over."""
    return lambda _: Asked([text], _named(headers))


def known_values(site: Site) -> Asked:
    """Look-ups of stored addresses."""
    return Asked([f"/api/iocs/{value}" for value in site.known(_VALUES)])


def unknown_values(site: Site) -> Asked:
    """Look-ups of addresses nobody reported, which answer 404."""
    return Asked([f"/api/iocs/{value}" for value in site.fresh(_VALUES)], status=404)


def pages(parameters: str = "") -> Ask:
    """Pages 1 to 20 of a search among addresses."""
    return lambda _: Asked([f"/api/iocs?type=ip&limit=50&page={page}{parameters}" for page in range(1, 21)])


def revalidation(text: str) -> Ask:
    """A path by somebody who has it already."""

    def ask(site: Site) -> Asked:
        etag = site.ask("GET", text, {"Accept-Encoding": "zstd"}).headers["etag"]
        return Asked([text], {"If-None-Match": etag}, status=304)

    return ask


def since(text: str) -> Ask:
    """A path that ends with the version of before the last day's change."""
    return lambda site: Asked([text + site.filled.version])


def many_values(site: Site) -> Asked:
    """Bodies of 10,000 values: nine in ten are stored, as far as there are so many."""
    known = site.known(_LOOKUP_VALUES * 9 // 10 * _LOOKUP_BODIES)
    strangers = site.fresh(_LOOKUP_VALUES * _LOOKUP_BODIES)
    chance = random.Random(5)
    bodies = []
    for _ in range(_LOOKUP_BODIES):
        asked = chance.sample(known, min(len(known), _LOOKUP_VALUES * 9 // 10))
        asked += chance.sample(strangers, _LOOKUP_VALUES - len(asked))
        chance.shuffle(asked)
        bodies.append(json.dumps({"values": asked}))
    return Asked(bodies, target="/api/iocs/lookup")


def load(ask: Ask, connections: int = 16, *, payload: bool = False, items: int = 0) -> Measure:
    """How a row of requests is measured; with MB of payload or items a second where that is the point."""

    def measure(site: Site) -> Figures:
        asked, folder = ask(site), site.new_folder()
        method = "POST" if asked.target else "GET"
        body = asked.lines[0] if asked.target else None
        answer = site.ask(method, asked.target or asked.lines[0], asked.headers, body)
        if answer.status != asked.status:
            raise NotMeasured(f"{asked.target or asked.lines[0]} answers {answer.status}: {answer.body[:200]!r}")
        headers = {"Authorization": f"Bearer {KEY}", **asked.headers}
        script = wrk.write_script(folder, method, asked.target, asked.lines, headers)
        with _floor(folder, answer) as floor_port:
            figures = _in_turns(site, script, floor_port, connections, is_refusal=asked.status >= 400)
        if payload:
            figures["MB/s"] = figures["requests/s"] * len(answer.body) / 1e6
        if items:
            figures["values/s"] = figures["requests/s"] * items
        return figures

    return measure


def _in_turns(site: Site, script: Path, floor_port: int, connections: int, *, is_refusal: bool) -> Figures:
    rounds: list[Figures] = []
    rates: list[tuple[float, float]] = []
    for _ in range(site.effort.rounds):
        floor = wrk.run(floor_port, script, site.effort.seconds, connections)
        before_s = machine.cpu_s(site.pid)
        ours = wrk.run(site.port, script, site.effort.seconds, connections)
        used_s = machine.cpu_s(site.pid) - before_s
        check(ours, is_refusal=is_refusal)
        rates.append((ours.requests_a_second, floor.requests_a_second))
        rounds.append(
            {
                "requests/s": ours.requests_a_second,
                "p50 ms": ours.p50_ms,
                "p99 ms": ours.p99_ms,
                "CPU us": used_s / ours.requests * 1e6,
                "floor p99 ms": floor.p99_ms,
                "p99/floor": ours.p99_ms / floor.p99_ms,
            }
        )
    return with_ratios(medians(rounds), rates)


def check(seen: wrk.Load, *, is_refusal: bool = False) -> None:
    """NotMeasured when requests did not get the answer they should."""
    if not seen.requests or seen.broken or seen.refused != (seen.requests if is_refusal else 0):
        raise NotMeasured(
            f"{seen.refused} of {seen.requests} requests were refused, {seen.broken} more had no answer in time"
        )


@contextmanager
def _floor(folder: Path, answer: Answer) -> Iterator[int]:
    """A floor that answers this; gives its port."""
    (folder / "body").write_bytes(answer.body)
    (folder / "head.json").write_text(json.dumps({"status": answer.status, "headers": answer.headers}), "utf-8")
    port = processes.free_port()
    with processes.serving(["-m", "bench.floor", str(folder), str(port)], port):
        yield port


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}
