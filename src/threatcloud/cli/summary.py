"""What became of an import: counted while it runs, shown at its end."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

from threatcloud.cli.output import console, print_fields, print_table, safe
from threatcloud.http.bulk.log_reading import COWRIE, REPLAY
from threatcloud.services.bulk.frames import Frame, Rejected

_MAX_REASONS: Final = 30
_quoted: Final = re.compile(r"'[^']*'")


#: What became of values, by the words of the API, and what these mean.
_LISTED: Final = {
    "new": "",
    "updated": "known, newly listed by this source",
    "confirmed": "listed by this source before",
    "repeated": "in the same part of the file",
}
_REPORTED: Final = {"new": "", "updated": "known before"}
_LOGGED: Final = {
    "stored": "of the log, at their own times",
    "known": "taken in before",
    "new": "indicators",
    "updated": "indicators known before, each time",
}
_SENT: Final = {"sent": "to a server that stores each once"}
#: By format: here, and to a server elsewhere.
_WORDS: Final = {COWRIE: (_LOGGED, _SENT), REPLAY: (_LOGGED, _REPORTED)}


class Tally:
    """The figures of one import. ``stored`` counts what became of values, by the words of the summary."""

    def __init__(self, run: str, source: str, file: str, *, dry_run: bool = False) -> None:
        self.run = run
        self.source = source
        self.file = file
        self.format = ""
        self.lines = 0
        self.values = 0
        self.stored: Counter[str] = Counter()
        self.whitelisted: Counter[str] = Counter()
        self.clouds: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.rejects_file: Path | None = None
        self.interrupted = False
        self.dry_run = dry_run
        self._started_s = time.monotonic()
        self._reading_s: float | None = None

    def start_clock(self) -> None:
        """The reading has begun by now: what came before, lists to be loaded, is not counted into the rate."""
        if self._reading_s is None:
            self._reading_s = time.monotonic()

    def add(self, frame: Frame, stored: dict[str, int]) -> None:
        """Adds a chunk once it is stored."""
        self.format = frame.format or self.format
        self.lines = max(self.lines, frame.lines)
        self.values += frame.values
        self.stored.update(stored)
        self.whitelisted.update(frame.whitelisted)
        self.clouds.update(frame.clouds)
        self._pass(frame.passed)

    def _pass(self, passed: Mapping[str, int]) -> None:
        for what, count in passed.items():
            known = what in self.passed or len(self.passed) < _MAX_REASONS
            self.passed[what if known else "other things"] += count

    def reject(self, rejects: Iterable[Rejected]) -> None:
        """Counts rejected lines by reason, without what is particular to one line."""
        for reject in rejects:
            reason = _quoted.sub("…", f"{reject.field} {reject.reason.partition(': ')[0]}")
            known = reason in self.rejected or len(self.rejected) < _MAX_REASONS
            self.rejected[reason if known else "other reasons"] += 1

    @property
    def seconds(self) -> float:
        """Since the import began."""
        return time.monotonic() - self._started_s

    @property
    def reading_seconds(self) -> float:
        """Since the first line was read; never 0."""
        return max(time.monotonic() - (self._reading_s or self._started_s), 0.001)

    @property
    def values_per_second(self) -> int:
        """How fast values are being stored."""
        return round(self.values / self.reading_seconds)

    def as_json(self) -> dict[str, Any]:
        """The summary for scripts, and for the import's entry in the audit ledger."""
        return {
            "run": self.run,
            "source": self.source,
            "file": self.file,
            "format": self.format,
            "lines": self.lines,
            "values": self.values,
            **self.stored,
            "whitelisted": dict(self.whitelisted.most_common()),
            "needCorroboration": dict(self.clouds.most_common()),
            "rejected": dict(self.rejected.most_common()),
            "passedOver": dict(self.passed.most_common()),
            "rejectsFile": str(self.rejects_file) if self.rejects_file else None,
            "seconds": round(self.seconds, 1),
            "valuesPerSecond": self.values_per_second,
            "interrupted": self.interrupted,
            "dryRun": self.dry_run,
        }

    def show(self, is_local: bool) -> None:
        """Prints the summary for people."""
        local, remote = _WORDS.get(self.format, (_LISTED, _REPORTED))
        labels = {} if self.dry_run else local if is_local else remote
        rows: list[tuple[str, int, str]] = [(word, self.stored[word], text) for word, text in labels.items()]
        rows += [("whitelisted", count, name) for name, count in self.whitelisted.most_common()]
        rows += [("to be corroborated", count, f"shared: {name}") for name, count in self.clouds.most_common()]
        rows += [("rejected", count, reason) for reason, count in self.rejected.most_common()]
        rows += [("passed over", count, what) for what, count in self.passed.most_common()]
        out = console()
        stored = ", nothing of which is stored" if self.dry_run else ""
        out.print(f"[bold]{self.lines:,} lines[/bold] as {self.format or 'nothing'}, {self.values:,} values{stored}:")
        print_table(("result", "values", "by"), rows)
        print_fields({"time": f"{self.seconds:.1f} s, {self.values_per_second:,} values a second"})
        if self.rejects_file:
            print_fields({"rejected lines": str(self.rejects_file)})


class RejectsFile:
    """Rejected lines as TSV: number, field, reason, text. The file is gone again when there are none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO = path.open("w", encoding="utf-8")
        self._is_empty = True

    def write(self, rejects: Iterable[Rejected]) -> None:
        """Adds lines; what a terminal could obey is escaped, tabs too."""
        for reject in rejects:
            self._is_empty = False
            cells = (reject.line or "-", reject.field, reject.reason, reject.text)
            self._file.write("\t".join(safe(cell) for cell in cells) + "\n")

    def close(self) -> Path | None:
        """Closes it; gives the path, or None when nothing was rejected."""
        self._file.close()
        if self._is_empty:
            self.path.unlink(missing_ok=True)
            return None
        return self.path
