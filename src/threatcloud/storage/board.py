"""What the writer tells every reader, in its process and in others, at the price of reading a number."""

from typing import Final

from threatcloud.storage.memory import own_memory

BOARD_BYTES: Final = 64

#: Commits so far: raised once one is durable, before anybody is answered. Who sees it move lets go of what it read.
COMMITS: Final = 0
#: Not 0 while the log is long and waits to be begun anew: nobody is to stay in it.
LOG_WAITS: Final = 1
#: How many wait for the log to be emptied.
EMPTYING: Final = 2
#: Commits so far that changed what processes keep in memory beside the database: keys, and the roles of reporters.
KEPT: Final = 3


def board_in(memory: memoryview) -> memoryview:
    """The figures of the board, by the names above. Only the process that writes to the database writes them."""
    return memory.cast("q")


def own_board() -> memoryview:
    """The board of a writer that has no other processes."""
    return board_in(own_memory(BOARD_BYTES).part(BOARD_BYTES))
