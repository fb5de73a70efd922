"""How a process that a server starts for work that can wait goes behind it."""

import os


def stand_back(niceness: int) -> None:
    """Has this process stand back by so much, and not hear the Ctrl-C that a terminal sends to the server's group.

    It stays in the server's session: Linux shares out a core between sessions first (autogroups, sched(7)), so that
    in a session of its own a process has half of the core, however nice it is.
    """
    os.setpgid(0, 0)
    os.nice(niceness)
