"""Memory that the processes of one server share: zeros at first, gone with the last process that holds it.

What lies in it is written a cell at a time, in one store: another process sees the old figure or the new one, never
something between. So nothing here needs a lock that a killed process could leave behind.
"""

import mmap
import os
import sys
import tempfile
from typing import Final

_LINE_BYTES: Final = 64


class Memory:
    """A piece of memory, handed out in parts; every process takes the same parts in the same order.

    ``descriptor`` opens it in another process (``memory_of``); None where no other is to have it.
    """

    def __init__(self, mapped: mmap.mmap, descriptor: int | None) -> None:
        self._rest = memoryview(mapped)
        self.descriptor = descriptor

    def part(self, size_bytes: int) -> memoryview:
        """The next part, on a cache line of its own."""
        part = self._rest[:size_bytes]
        self._rest = self._rest[-(-size_bytes // _LINE_BYTES) * _LINE_BYTES :]
        return part

    def close(self) -> None:
        """Closes the descriptor; the parts live on."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def own_memory(size_bytes: int) -> Memory:
    """Memory of this process alone."""
    return Memory(mmap.mmap(-1, size_bytes), None)


def shared_memory(size_bytes: int) -> Memory:
    """Memory that other processes can have, too: no file that would outlive them."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("threat-cloud", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size_bytes)
    return Memory(mmap.mmap(descriptor, size_bytes), descriptor)


def memory_of(descriptor: int) -> Memory:
    """The memory that another process made."""
    return Memory(mmap.mmap(descriptor, os.fstat(descriptor).st_size), descriptor)
