"""Processes for work that can wait go behind the server that starts them, and do not hear what its terminal sends."""

import os
import subprocess
import time

import pytest

from threatcloud.formats.feeds import apart
from threatcloud.services import correlating_apart

#: To which other tests may have taken the process that runs them.
MOST_NICE = 19


@pytest.mark.parametrize("command", [apart.COMMAND, correlating_apart.COMMAND])
def test_they_stand_back_within_the_session_of_the_server(command: tuple[str, ...]) -> None:
    """In a session of their own they would have half of a core, however nice they are."""
    least = min(MOST_NICE, os.getpriority(os.PRIO_PROCESS, 0) + 1)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        pid = process.pid
        until_s = time.monotonic() + 30
        while os.getpgid(pid) != pid or os.getpriority(os.PRIO_PROCESS, pid) < least:
            assert time.monotonic() < until_s
            time.sleep(0.02)
        session = os.getsid(pid)
        process.kill()

    assert session == os.getsid(0)
