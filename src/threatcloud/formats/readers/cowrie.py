"""Cowrie's JSON log, one event a line, gathered into sessions.

Read are the events of a connection, its logins, commands and files; all others are passed over. Source: the
output plugin ``jsonlog`` of Cowrie, in its forms from 2017 to 2026.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from threatcloud.domain.times import parse_time
from threatcloud.formats.readers.found import Line, Reject, excerpt

MAX_OPEN_SESSIONS = 50_000
MAX_CREDENTIALS = 200
MAX_COMMANDS = 1_000
MAX_DOWNLOADS = 1_000


@dataclass(frozen=True, slots=True)
class Session:
    """One connection to the honeypot; times are UTC milliseconds of its first and last event.

    ``credentials`` are pairs of user name and password, distinct, in the order they were tried. ``commands`` are
    the input lines with their times. ``downloads`` are the files that came to the honeypot, fetched or uploaded,
    distinct: SHA-256 in lower case, and the URL where one is known. Each is cut at its ``MAX_``.
    """

    session_id: str
    sensor: str
    src_ip: str
    protocol: str
    started_at: int
    ended_at: int
    credentials: tuple[tuple[str, str], ...] = field(repr=False)  # no password in a log by accident
    commands: tuple[tuple[int, str], ...]
    downloads: tuple[tuple[str, str | None], ...]
    client_version: str | None
    hassh: str | None


class _Event(msgspec.Struct):
    """What is read of a line; the keys are Cowrie's."""

    eventid: str
    session: str | None = None
    sensor: str = ""
    timestamp: str = ""
    src_ip: str | None = None
    protocol: str | None = None
    system: str | None = None
    username: str | None = None
    password: str | None = None
    input: str | None = None
    shasum: str | None = None
    url: str | None = None
    version: str | None = None
    hassh: str | None = None


class _Open:
    """A session whose end was not seen yet."""

    def __init__(self, line: int, event: _Event, at_ms: int) -> None:
        self.line = line
        self.session_id = event.session or ""
        self.sensor = event.sensor
        self.src_ip: str | None = None
        self.protocol: str | None = None
        self.telnet = False
        self.started_at = self.ended_at = at_ms
        self.credentials: dict[tuple[str, str], None] = {}
        self.commands: list[tuple[int, str]] = []
        self.downloads: dict[tuple[str, str | None], None] = {}
        self.client_version: str | None = None
        self.hassh: str | None = None

    def add(self, event: _Event, at_ms: int) -> None:
        self.src_ip = self.src_ip or event.src_ip
        self.protocol = self.protocol or event.protocol
        # Older versions name the protocol only in the part of Cowrie that wrote the event.
        self.telnet = self.telnet or "telnet" in (event.system or "").lower()
        self.started_at = min(self.started_at, at_ms)
        self.ended_at = max(self.ended_at, at_ms)
        if event.eventid in _LOGINS:
            self._add_login(event)
        elif event.eventid == _COMMAND:
            if event.input is not None and len(self.commands) < MAX_COMMANDS:
                self.commands.append((at_ms, event.input))
        elif event.eventid in _FILES:
            self._add_file(event)
        else:
            self.client_version = self.client_version or event.version
            self.hassh = self.hassh or event.hassh

    def _add_login(self, event: _Event) -> None:
        # A public key has a name and no password.
        if event.username is not None and event.password is not None and len(self.credentials) < MAX_CREDENTIALS:
            self.credentials[event.username, event.password] = None

    def _add_file(self, event: _Event) -> None:
        # Without a hash nothing came; without a scheme the "url" is the file a redirection went to.
        if event.shasum and _is_sha256(event.shasum) and len(self.downloads) < MAX_DOWNLOADS:
            url = event.url if event.url and "://" in event.url else None
            self.downloads[event.shasum.lower(), url] = None

    def done(self) -> Session | Reject:
        if not self.src_ip:
            return Reject(self.line, excerpt(self.session_id), "value", "no event of this session has a 'src_ip'")
        return Session(
            session_id=self.session_id,
            sensor=self.sensor,
            src_ip=self.src_ip,
            protocol=self.protocol or ("telnet" if self.telnet else "ssh"),
            started_at=self.started_at,
            ended_at=self.ended_at,
            credentials=tuple(self.credentials),
            commands=tuple(self.commands),
            downloads=tuple(self.downloads),
            client_version=self.client_version,
            hassh=self.hassh,
        )


_CONNECT = "cowrie.session.connect"
_CLOSED = "cowrie.session.closed"
_COMMAND = "cowrie.command.input"
_LOGINS = frozenset({"cowrie.login.success", "cowrie.login.failed"})
_FILES = frozenset({"cowrie.session.file_download", "cowrie.session.file_upload"})
_KNOWN = frozenset({_CONNECT, _CLOSED, _COMMAND, "cowrie.client.version", "cowrie.client.kex"}) | _LOGINS | _FILES
_is_sha256 = re.compile(r"[0-9a-fA-F]{64}").fullmatch
_decode = msgspec.json.Decoder(_Event).decode


def sessions(lines: Iterable[Line | bytes], max_open: int = MAX_OPEN_SESSIONS) -> Iterator[Session | Reject]:
    """Each session when it closes, and at the end those that did not, in the order they began.

    A line that is no event is a ``Reject``, as is a session without an address; blank lines and unknown events
    are passed over. More than ``max_open`` sessions at a time end the oldest; events that come after the end
    make a session of their own. Sessions are told apart by id and sensor.
    """
    opened: dict[tuple[str, str], _Open] = {}
    for number, line in enumerate(lines, 1):
        if isinstance(line, Reject):
            yield line
            continue
        event = _event(number, line)
        if isinstance(event, Reject):
            yield event
        elif event is not None:
            yield from _gather(opened, number, event, max_open)
    for session in opened.values():
        yield session.done()


def _gather(
    opened: dict[tuple[str, str], _Open], number: int, timed: tuple[_Event, int], max_open: int
) -> Iterator[Session | Reject]:
    event, at_ms = timed
    key = (event.session or "", event.sensor)
    if event.eventid == _CONNECT and key in opened:
        yield opened.pop(key).done()  # ids are short: this is another session
    if key not in opened:
        if len(opened) >= max_open:
            yield opened.pop(next(iter(opened))).done()
        opened[key] = _Open(number, event, at_ms)
    opened[key].add(event, at_ms)
    if event.eventid == _CLOSED:
        yield opened.pop(key).done()


def _event(number: int, line: str | bytes) -> tuple[_Event, int] | Reject | None:
    """The event of a line and its time; None for a blank line and an event that is not read."""
    if not line or line.isspace():
        return None
    try:
        event = _decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return _reject(number, line, f"is no Cowrie event: {error}")
    if event.eventid not in _KNOWN:
        return None
    if not event.session:
        return _reject(number, line, "is a Cowrie event without 'session'")
    try:
        return event, parse_time(event.timestamp)
    except ValueError as error:
        return _reject(number, line, f"'timestamp' {error}")


def _reject(number: int, line: str | bytes, reason: str) -> Reject:
    text = line if isinstance(line, str) else line[:1024].decode(errors="backslashreplace")
    return Reject(number, excerpt(text.rstrip("\r\n")), "line", reason)
