"""How fast documents are read, and in how much memory: ``python -m bench.documents [MEGABYTES]``.

A STIX bundle of the size is written (a tenth by default), and read as an import reads it: patterns parsed, values made
canonical and screened, rows encoded. Nothing is stored, so this is the reading half alone, on one core.
"""

import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_MEGABYTE: Final = 1_000_000
_DEFAULT_MEGABYTES: Final = 100
_PROGRAM: Final = "-m", "bench.documents", "--read"


def objects() -> Iterator[dict[str, Any]]:
    """Indicators as vendors write them, each with its relationship to a family, without end."""
    yield {"type": "malware", "id": "malware--1", "name": "Example", "malware_types": ["trojan"]}
    patterns = (
        "[domain-name:value = 'host-{0}.example.com']",
        "[url:value = 'http://host-{0}.example.com/path/{0}?x=1']",
        "[ipv4-addr:value = '91.{1}.{2}.{3}']",
        "[file:hashes.'SHA-256' = '{0:064x}' OR file:hashes.MD5 = '{0:032x}']",
    )
    number = 0
    while True:
        number += 1
        identity = f"indicator--{number:032x}"
        pattern = patterns[number % 4].format(number, number >> 16 & 255, number >> 8 & 255, number & 255)
        yield {
            "type": "indicator",
            "spec_version": "2.1",
            "id": identity,
            "created": "2026-03-07T08:15:00.000Z",
            "modified": "2026-03-07T08:15:00.000Z",
            "valid_from": "2026-03-07T08:15:00.000Z",
            "name": "Seen in the wild",
            "indicator_types": ["malicious-activity"],
            "pattern": pattern,
            "pattern_type": "stix",
            "labels": ["trojan", "campaign-7"],
            "confidence": 85,
            "object_marking_refs": ["marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487"],
            "external_references": [{"source_name": "blog", "url": f"https://blog.example.com/{number}"}],
        }
        link = {"relationship_type": "indicates", "source_ref": identity, "target_ref": "malware--1"}
        yield {"type": "relationship", "id": f"relationship--{number:032x}", **link}


def write(path: Path, size_bytes: int) -> int:
    """Writes a bundle of about that size; gives the number of its indicators."""
    indicators = 0
    with path.open("w") as file:
        file.write('{"type": "bundle", "id": "bundle--1", "objects": [')
        separator = ""
        for item in objects():
            file.write(separator + json.dumps(item))
            separator = ",\n"
            indicators += item["type"] == "indicator"
            if file.tell() >= size_bytes:
                break
        file.write("]}")
    return indicators


def read(path: str) -> dict[str, float]:
    """Reads a file as an import does; figures of this process."""
    from threatcloud.formats.readers import open_source
    from threatcloud.http.bulk.reading import frames
    from threatcloud.services.bulk.frames import ReadJob

    gc.disable()  # as the reading process does
    job = ReadJob(file=path, source="feed:bench", run="run_bench", reports=False, severity="high")
    before_s, values, rejects, first, started_s, loaded_cpu_s = time.perf_counter(), 0, 0, 0, 0.0, 0.0
    with open_source(path) as source:
        for frame, _ in frames(job, source):
            if not started_s:  # the lists that values are screened with are loaded by now
                started_s, loaded_cpu_s, first = time.perf_counter(), time.process_time(), frame.values
            values += frame.values
            rejects += len(frame.rejects)
    cpu_s = time.process_time() - loaded_cpu_s
    return {
        "values": values,
        "rejects": rejects,
        "seconds": time.perf_counter() - before_s,
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "values per CPU second": (values - first) / cpu_s,  # what other work on the machine moves least
    }


def main() -> None:
    """Measures, and prints."""
    if sys.argv[1:2] == ["--read"]:
        print(json.dumps(read(sys.argv[2])))
        return
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else _DEFAULT_MEGABYTES
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.json"
        indicators = write(path, megabytes * _MEGABYTE)
        done = subprocess.run([sys.executable, *_PROGRAM, str(path)], capture_output=True, check=True)
    found = json.loads(done.stdout)
    print(f"{megabytes} MB, {indicators:,} indicators, {found['values']:,} values, {found['rejects']} rejects")
    rate = found["values per CPU second"] * indicators / found["values"]
    print(f"{found['seconds']:.1f} s: {indicators / found['seconds']:,.0f} indicators/s; peak {found['MB']:.0f} MB")
    print(f"once loaded: {rate:,.0f} indicators per second of processor")


if __name__ == "__main__":
    main()
