"""Processes for work that can wait go behind the server that starts them, and do not hear what its terminal sends."""

import os
import subprocess
import time

import pytest

from threatcloud.formats.feeds import apart
from threatcloud.services import correlating_apart


@pytest.mark.parametrize("command", [apart.COMMAND, correlating_apart.COMMAND])
def test_they_stand_back_within_the_session_of_the_server(command: tuple[str, ...]) -> None:
    """In a session of their own they would have half of a core, however nice they are."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        until_s = time.monotonic() + 30
        while os.getpriority(os.PRIO_PROCESS, process.pid) == own and time.monotonic() < until_s:
            time.sleep(0.02)

        niceness = os.getpriority(os.PRIO_PROCESS, process.pid)
        group, session = os.getpgid(process.pid), os.getsid(process.pid)
        process.kill()

    assert niceness > own
    assert group == process.pid
    assert session == os.getsid(0)
