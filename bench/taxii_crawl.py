"""How long an unmodified client of TAXII takes to crawl a collection in which many objects have the same time.

    .venv/bin/python -m bench.taxii_crawl 100000

starts a server over a new database, lists that many addresses in it, and prints what the crawl found and took, beside
how many the blocklist has (an address that must not be blocked is in neither).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path

import httpx
from taxii2client.v21 import Server, as_pages  # type: ignore[import-untyped]

from bench.processes import free_port

KEY = "bench-key-0123456789abcdef"
_FIRST = int(IPv4Address("91.0.0.1"))
_PAGE = 5_000


def main(count: int) -> None:
    """Prints a line of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ,
            "TC_DB_PATH": f"{folder}/threat-cloud.db",
            "TC_PORT": str(free_port()),
            "TC_API_KEYS": f"{KEY}:read+write+admin",
            "TC_RATE_LIMIT_FEED": "1000000",
        }
        path = Path(folder) / "list.txt"
        path.write_text("".join(f"{IPv4Address(_FIRST + 3 * number)}\n" for number in range(count)))
        command = [sys.executable, "-m", "threatcloud"]
        subprocess.run([*command, "import", str(path), "--source", "feed:bench"], check=True, env=environ)
        server = subprocess.Popen([*command, "serve"], env=environ, stderr=subprocess.DEVNULL)
        try:
            print(json.dumps(_crawl(f"http://127.0.0.1:{environ['TC_PORT']}")))
        finally:
            server.terminate()
            server.wait()


def _crawl(url: str) -> dict[str, object]:
    _wait(f"{url}/health")
    collections = Server(f"{url}/taxii2/", user="bench", password=KEY).default.collections
    collection = next(found for found in collections if found.alias == "ip-blocklist")
    begun_s = time.perf_counter()
    ids, times = set[str](), Counter[str]()
    for page in as_pages(collection.get_objects, per_request=_PAGE):
        for found in page.get("objects", []):
            ids.add(found["id"])
            times[found["modified"]] += 1
    took_s = time.perf_counter() - begun_s
    headers = {"Authorization": f"Bearer {KEY}"}
    blocked = httpx.get(f"{url}/api/feeds/ip-blocklist", headers=headers, trust_env=False).raise_for_status()
    return {
        "objects": len(ids),
        "listed": sum(not line.startswith("#") for line in blocked.text.splitlines()),
        "seconds": round(took_s, 1),
        "most of one time": max(times.values(), default=0),
    }


def _wait(url: str) -> None:
    while True:
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
