"""Background jobs: one table in bootstrap, one runner; every run leaves a row an operator can see."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import structlog

from threatcloud.domain.errors import Busy, DomainError
from threatcloud.storage import jobs
from threatcloud.storage.jobs import JobRun
from threatcloud.storage.store import Clock, Store

DONE: Final = "done"
NOTHING: Final = "nothing to do"
FAILED: Final = "failed"
_log = structlog.get_logger("jobs")


class Job(NamedTuple):
    """A job: ``run`` gives what it did in words, or an empty text when there was nothing to do. Of several nodes the
    one that leads runs it, or each where it is ``of_each_node``."""

    name: str
    interval_s: float
    timeout_s: float
    run: Callable[[], Awaitable[str]]
    of_each_node: bool = False


class JobFigures(NamedTuple):
    """What a job has come to: its last run, None before the first, and how many runs failed since the start."""

    name: str
    last: JobRun | None
    failures: int


class JobRunner:
    """Runs each job at its interval, one at a time each, and records the outcome."""

    def __init__(self, table: Sequence[Job], store: Store, clock: Clock) -> None:
        self._table = table
        self._store = store
        self._clock = clock
        self.last_runs: dict[str, JobRun] = {}
        self._failures = Counter[str]()

    def figures(self) -> list[JobFigures]:
        """What the jobs have come to."""
        names = dict.fromkeys([*(job.name for job in self._table), *self.last_runs])
        return [JobFigures(name, self.last_runs.get(name), self._failures[name]) for name in names]

    async def run_forever(self) -> None:
        """Runs all jobs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for job in self._table:
                group.create_task(self._repeat(job), name=job.name)

    async def _repeat(self, job: Job) -> None:
        while True:
            await asyncio.sleep(job.interval_s)
            if job.of_each_node or self._store.leads:
                await self.run_once(job)

    async def run_once(self, job: Job) -> JobRun:
        """Runs a job now; a failure is recorded and logged, and does not end the others."""
        started_at = self._clock()
        try:
            async with asyncio.timeout(job.timeout_s):
                detail = await job.run()
            outcome = DONE if detail else NOTHING
        except TimeoutError:
            outcome, detail = FAILED, f"took longer than {job.timeout_s:g} s"
        except (DomainError, OSError) as error:
            outcome, detail = FAILED, str(error)
        if outcome == FAILED:
            self._failures[job.name] += 1
            _log.error("job failed", job=job.name, detail=detail)
        run = JobRun(job.name, started_at, self._clock(), outcome, detail)
        before = self.last_runs.get(job.name)
        self.last_runs[job.name] = run
        if outcome != NOTHING or before is None or before.outcome != NOTHING:
            try:
                await self._store.write(lambda tx: jobs.record(tx, run))
            except Busy as error:
                _log.error("job not recorded", job=job.name, reason=error.message)
        return run
