"""What background jobs did last, for the operator to see."""

from typing import NamedTuple

from threatcloud.storage.driver import Connection, Transaction


class JobRun(NamedTuple):
    """The last run of a job; ``outcome`` is ``done``, ``nothing to do`` or ``failed``."""

    name: str
    started_at: int
    finished_at: int | None
    outcome: str
    detail: str


def record(tx: Transaction, run: JobRun) -> None:
    """Keeps the run as the job's last."""
    tx.db.run(
        "INSERT INTO job_run (name, started_at, finished_at, outcome, detail) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET started_at=excluded.started_at, finished_at=excluded.finished_at, "
        "outcome=excluded.outcome, detail=excluded.detail",
        run,
    )


def last_runs(db: Connection) -> list[JobRun]:
    """The last run of each job, by name."""
    return [
        JobRun(*row)
        for row in db.rows("SELECT name, started_at, finished_at, outcome, detail FROM job_run ORDER BY name")
    ]
