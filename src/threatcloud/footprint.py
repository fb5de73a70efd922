"""How much memory a process holds: its settings of the collector and of the C library's allocator.

glibc keeps what was freed: an arena for each few threads, and in them whatever lies below something still in use. A
server of a million indicators held 292 MB of anonymous memory after it had imported 60,000 addresses, and 306 for as
long as it ran; with two arenas, large blocks mapped on their own and what is free given back, 199 and, seconds later,
123. See mallopt(3) and malloc_trim(3). Other C libraries have neither, and nothing is done there.
"""

import asyncio
import ctypes
import gc
import os
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2
#: What glibc starts with, and would raise to as much as 32 MiB as large blocks are freed.
_THRESHOLD_BYTES: Final = 128 * 1024
_GIVE_BACK_S: Final = 10
_libc: Final = ctypes.CDLL(None) if os.name == "posix" else None


def tune_allocator() -> None:
    """Has the C library hold less of what is freed; to be called before there are threads."""
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_TRIM_THRESHOLD, _THRESHOLD_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)


def tune_collector() -> None:
    """What was loaded stays, and batches make many objects but no cycles: a rare collection saves 15 % of an import."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


async def give_back_forever() -> None:
    """Gives what is free back to the system, every ten seconds: about 2 ms in a thread where there is little."""
    malloc_trim = getattr(_libc, "malloc_trim", None)
    while malloc_trim is not None:
        await asyncio.sleep(_GIVE_BACK_S)
        await asyncio.to_thread(malloc_trim, 0)
