"""A long backlog of correlation is taken up by a process of its own, which may end at any time."""

import os
import signal
from pathlib import Path

import pytest

from tests.services.test_correlating import Correlated
from threatcloud.config import Settings, load_settings
from threatcloud.domain.errors import Busy
from threatcloud.services.correlating import Correlator, Stepped
from threatcloud.services.correlating_apart import CorrelatorProcess
from threatcloud.services.pacing import Pace
from threatcloud.services.screening import Screener
from threatcloud.storage.sqlite_store import WritingStore

_HOSTS = 800


class Seen(CorrelatorProcess):
    """The process as it is, and how many steps it took; with ``kill`` it is killed before the second, or ``gone``."""

    def __init__(self, settings: Settings, store: WritingStore, *, kill: bool = False, gone: bool = False) -> None:
        super().__init__(settings, store)
        self.steps = 0
        self.pids: list[int] = []
        self._kill = kill
        self._gone = gone

    async def step(self, most: int) -> Stepped:
        """Counts."""
        self.steps += 1
        if self._process is not None:
            self.pids.append(self._process.pid)
            if self._kill:
                os.kill(self._process.pid, signal.SIGKILL)
            if self._gone:
                self._process.wait()
        return await super().step(most)


@pytest.fixture
def system(tmp_path: Path, screener: Screener) -> object:
    made = Correlated(tmp_path / "apart.db", screener)
    yield made
    made.close()


def _report(system: Correlated) -> list[list[str]]:
    """Reports some URLs on each of many hosts; gives what belongs together."""
    together = [[f"http://panel-{host}.evil-{host}.xyz/{n}" for n in range(4)] for host in range(_HOSTS)]
    for first in range(0, _HOSTS, 25):
        system.report(*(value for values in together[first : first + 25] for value in values))
    return sorted(together)


def _correlator(system: Correlated, apart: Seen) -> Correlator:
    return Correlator(system.store, system._screener, Pace(), apart)


def _apart(system: Correlated, *, kill: bool = False, gone: bool = False) -> Seen:
    assert isinstance(system.store, WritingStore)
    return Seen(load_settings({}, {"TC_DB_PATH": str(system.store.path)}), system.store, kill=kill, gone=gone)


def test_a_long_backlog_is_taken_up_apart_and_the_process_ends_with_it(system: Correlated) -> None:
    together = _report(system)
    apart = _apart(system)
    done = system.run(_correlator(system, apart).run())
    assert int(done.split()[0]) >= 4 * _HOSTS  # some twice, where a step ends between a value and what was told of it
    assert system.correlate() == ""
    assert apart.steps > 1
    assert sorted(system.campaigns().values()) == together
    for pid in apart.pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_short_one_starts_no_process(system: Correlated) -> None:
    system.report("http://evil-host.xyz/a", "http://evil-host.xyz/b", "http://evil-host.xyz/c")
    apart = _apart(system)
    assert system.run(_correlator(system, apart).run()) == "3 indicators looked at"
    assert apart.steps == 0


@pytest.mark.parametrize("gone", [False, True], ids=["dying", "gone"])
def test_a_process_that_is_killed_leaves_nothing_half_done_and_the_next_goes_on(
    system: Correlated, *, gone: bool
) -> None:
    together = _report(system)
    killed = _apart(system, kill=True, gone=gone)
    with pytest.raises(Busy, match="the process that correlates"):
        system.run(_correlator(system, killed).run())
    assert killed.pids
    assert len(system.campaigns()) < _HOSTS
    system.run(_correlator(system, _apart(system)).run())
    assert sorted(system.campaigns().values()) == together
