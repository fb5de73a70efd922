"""The reading half of an import of logs: what happened and when, in place of what a source lists."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from threatcloud.domain.times import iso
from threatcloud.formats.readers import Line, Reject, cowrie, timeline
from threatcloud.formats.readers.cowrie import Session
from threatcloud.formats.readers.found import excerpt
from threatcloud.formats.readers.timeline import Event
from threatcloud.http.bulk.screening import screener_of
from threatcloud.services.bulk.frames import Frame, ReadJob, Rejected
from threatcloud.services.imports import row_of
from threatcloud.services.intake import Claim, Intake
from threatcloud.services.replaying import CHUNK_EVENTS, EventRow
from threatcloud.services.reporting import MAX_BATCH
from threatcloud.services.trapping import PORTS, Interaction, Visit
from threatcloud.storage import log_entries

COWRIE: Final = "cowrie"
REPLAY: Final = "replay"
_encode: Final = msgspec.json.Encoder().encode
#: A visit fits into the body of its route whatever a log holds; the API takes no longer names and passwords.
_MAX_TEXT_BYTES: Final = 512 * 1024
_MAX_COMMANDS: Final = 900
_MAX_DOWNLOADS: Final = 90
_MAX_CREDENTIAL: Final = 256


class Visits:
    """Makes visits of the sessions of a Cowrie log: rows of ``POST /local/imports/visits``.

    Alone, for a server elsewhere, each is a body of ``POST /api/trap-intel``.
    """

    name = COWRIE
    max_bytes = 1024 * 1024

    def __init__(self, job: ReadJob) -> None:
        self._job = job
        self.max_rows = 1 if job.reports else 100

    def read(self, lines: Iterable[Line]) -> Iterator[Session | Reject]:
        """The sessions, each when it ends."""
        return cowrie.sessions(lines)

    def made(self, found: Session | Reject, _frame: Frame) -> bytes | Rejected:
        """The session as JSON; whether its address is one, the other side says."""
        if isinstance(found, Reject):
            return Rejected(found.line, found.field, found.reason, found.text)
        visit = visit_of(found, self._job.source)
        return _encode(_trap_body(visit) if self._job.reports else visit)

    def body(self, rows: list[bytes]) -> bytes:
        """The body of a chunk."""
        if self._job.reports:
            return rows[0]
        visits = [msgspec.Raw(row) for row in rows]
        return _encode({"run": self._job.run, "source": self._job.source, "visits": visits})


class _Timeline:
    """Reads a history (``formats.readers.timeline``)."""

    name = REPLAY

    def read(self, lines: Iterable[Line]) -> Iterator[Event | Reject]:
        """The events."""
        return timeline.events(lines)


class Events(_Timeline):
    """Makes rows of ``POST /local/imports/events``."""

    max_rows = CHUNK_EVENTS
    max_bytes = 2 * 1024 * 1024

    def __init__(self, job: ReadJob) -> None:
        self._job = job
        self._intake = Intake(screener_of(job))

    def made(self, found: Event | Reject, frame: Frame) -> bytes | Rejected:
        """The event as JSON, checked and screened."""
        if isinstance(found, Reject):
            return Rejected(found.line, found.field, found.reason, found.text)
        claim = Claim(
            found.type,
            found.value,
            found.source,
            found.category,
            None,
            found.confidence,
            found.metadata,
            found.ts,
        )
        made = self._intake.prepare(claim, now_ms())
        if isinstance(made, list):
            return Rejected(found.line, made[0].field, made[0].reason, excerpt(found.value))
        row = row_of(made)
        frame.note(row.withheld_list, row.cloud)
        return _encode(EventRow(row, found.source, found.reporter, found.digest[: log_entries.DIGEST_BYTES]))

    def body(self, rows: list[bytes]) -> bytes:
        """The body of a chunk."""
        return _encode({"run": self._job.run, "rows": [msgspec.Raw(row) for row in rows]})


class ReportedEvents(_Timeline):
    """Makes items of ``POST /api/threats``, all of them reports of the key; the server checks them."""

    max_rows = MAX_BATCH
    max_bytes = 900 * 1024

    def __init__(self, job: ReadJob) -> None:
        self._job = job

    def made(self, found: Event | Reject, _frame: Frame) -> bytes | Rejected:
        """The event as JSON."""
        if isinstance(found, Reject):
            return Rejected(found.line, found.field, found.reason, found.text)
        item = {
            "type": found.type,
            "value": found.value,
            "source": found.source,
            "category": found.category,
            "confidence": found.confidence,
            "metadata": found.metadata,
            "timestamp": found.ts,
        }
        return _encode({name: value for name, value in item.items() if value is not None})

    def body(self, rows: list[bytes]) -> bytes:
        """The body of a batch."""
        return _encode({"threats": [msgspec.Raw(row) for row in rows]})


def now_ms() -> int:
    """The current time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def visit_of(session: Session, source: str) -> Visit:
    """The visit that a session of the honeypot ``source`` was; its time is that of the session's end.

    What is longer than a visit may be is cut: commands and downloads after the first 900 and 90 or 512 KiB, names and
    passwords after 256 characters.
    """
    interactions = [_at(session.started_at, "connect", None), *_commands(session)]
    urls = dict.fromkeys(url for _, url in session.downloads if url is not None)
    interactions += [_at(session.ended_at, "download", {"url": url}) for url in list(urls)[:_MAX_DOWNLOADS]]
    interactions.append(_at(session.ended_at, "closed", None))
    return Visit(
        source,
        session.src_ip[:64],
        session.protocol if session.protocol in PORTS else "custom",
        interactions,
        [(user[:_MAX_CREDENTIAL], password[:_MAX_CREDENTIAL]) for user, password in session.credentials],
        list(dict.fromkeys(digest for digest, _ in session.downloads))[:_MAX_DOWNLOADS],
        # Ids of sessions are short, and come again in another log.
        hashlib.sha256(f"{session.sensor}\0{session.session_id}\0{session.started_at}".encode()).hexdigest()[:32],
        source,
    )


def _at(time_ms: int, action: str, data: Any) -> Interaction:
    return Interaction(iso(time_ms), action, data)


def _commands(session: Session) -> Iterator[Interaction]:
    left_bytes = _MAX_TEXT_BYTES
    for time_ms, command in session.commands[:_MAX_COMMANDS]:
        left_bytes -= len(_encode(command))
        if left_bytes < 0:
            return
        yield _at(time_ms, "command", command)


def _trap_body(visit: Visit) -> dict[str, Any]:
    """The visit as the API takes it, which has no word for telnet and takes the source from the route."""
    return {
        "trapId": visit.trap_id,
        "attackerIp": visit.attacker,
        "honeypotType": "custom" if visit.honeypot_type == "telnet" else visit.honeypot_type,
        "interactions": [item._asdict() for item in visit.interactions],
        "credentials": [{"username": user, "password": password} for user, password in visit.credentials],
        "payloads": visit.payloads,
        "sessionId": visit.session_id,
    }
