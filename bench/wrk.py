"""wrk: scripts of requests for it, and what it saw."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.processes import LOAD_CORE, on

_MARK = "@figures "
_MOST_S = 60
#: Requests are made once, beforehand; in the end wrk tells its figures with all their digits.
_SCRIPT = """
local requests = {{}}
local at = 0
{headers}
init = function()
  for line in io.lines("{lines}") do
    requests[#requests + 1] = {request}
  end
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
{delay}done = function(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '{mark}{{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


class Load(NamedTuple):
    """What wrk saw: requests a second, latencies, answers of a status of 400 or more, and requests without any."""

    requests_a_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    refused: int
    broken: int


def write_script(
    folder: Path,
    method: str,
    target: str | None,
    lines: Sequence[str],
    headers: Mapping[str, str],
    *,
    pause_ms: int = 0,
) -> Path:
    """A script that asks for the lines in turn (paths), or sends them to ``target`` (bodies of JSON); each connection
    rests before each request where there is a pause."""
    texts, script = folder / "lines.txt", folder / "load.lua"
    texts.write_text("\n".join(lines) + "\n", "utf-8")
    if target is None:
        request = f'wrk.format("{method}", line)'
    else:
        request = f'wrk.format("{method}", "{target}", nil, line)'
        headers = {"Content-Type": "application/json", **headers}
    told = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    delay = f"delay = function() return {pause_ms} end\n" if pause_ms else ""
    script.write_text(_SCRIPT.format(headers=told, lines=texts, request=request, mark=_MARK, delay=delay), "utf-8")
    return script


def run(port: int, script: Path, seconds: float, connections: int, core: str | None = LOAD_CORE) -> Load:
    """Loads a server from the core that is wrk's, for longer where it takes longer to answer at all."""
    seen = _run(port, script, seconds, connections, core)
    while not seen.requests and not seen.broken and seconds < _MOST_S:
        seconds *= 4
        seen = _run(port, script, seconds, connections, core)
    return seen


def _run(port: int, script: Path, seconds: float, connections: int, core: str | None) -> Load:
    command = [*on(core), "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    done = subprocess.run(
        [*command, "--timeout", "30s", "-s", str(script), f"http://127.0.0.1:{port}"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return parse(done.stdout)


def parse(text: str) -> Load:
    """The figures in what wrk printed; ValueError when there are none."""
    _, mark, rest = text.partition(_MARK)
    if not mark:
        raise ValueError(f"wrk told no figures: {text!r}")
    found = json.loads(rest.partition("\n")[0])
    return Load(
        found["requests"] / (found["duration_us"] / 1e6),
        found["p50_us"] / 1000,
        found["p99_us"] / 1000,
        found["requests"],
        found["refused"],
        found["broken"],
    )
