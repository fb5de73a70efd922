"""What a process gives back of what it no longer needs."""

import ctypes
import subprocess
import sys

import pytest

_SCRIPT = """
import asyncio
from pathlib import Path
from threatcloud import footprint

footprint.tune_allocator()
footprint._GIVE_BACK_S = 0.01

def held_kib():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1])

async def main():
    rows = [bytes(1000) for _ in range(100_000)]
    kept = rows[::1000]  # one in each megabyte, so that none of it lies free at the end of the heap
    filled = held_kib()
    del rows
    giving = asyncio.create_task(footprint.give_back_forever())
    while held_kib() > filled - 60_000:
        await asyncio.sleep(0.01)
    giving.cancel()
    print(len(kept))

asyncio.run(asyncio.wait_for(main(), 30))
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library has no malloc_trim: nothing is given back"
)
def test_what_was_freed_between_what_is_kept_goes_back_to_the_system() -> None:
    ended = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False)
    assert ended.stdout == "100\n", ended.stderr
