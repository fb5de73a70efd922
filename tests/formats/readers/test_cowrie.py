import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.formats.readers import Reject, open_source
from threatcloud.formats.readers.cowrie import MAX_COMMANDS, MAX_CREDENTIALS, MAX_DOWNLOADS, Session, sessions

LOGS = Path(__file__).parents[3].parent / "shared" / "data" / "logs"
START = 1_777_161_600_000  # 2026-04-26T00:00:00Z
SHA = "ab" * 32


def event(name: str, session: str = "s1", second: int = 0, **fields: Any) -> str:
    base: dict[str, Any] = {
        "eventid": f"cowrie.{name}",
        "session": session,
        "sensor": "trap-1",
        "src_ip": "192.0.2.1",
        "timestamp": f"2026-04-26T00:00:{second:02}.250000Z",
    }
    return json.dumps({**base, **fields})


def only(*lines: str | bytes) -> Session:
    (session,) = sessions(lines)
    assert isinstance(session, Session)
    return session


def test_a_whole_session() -> None:
    lines = [
        event("session.connect", protocol="ssh"),
        event("client.version", version="SSH-2.0-Go"),
        event("client.kex", hassh="0123", kexAlgs=["a", "b"]),
        event("login.failed", second=1, username="root", password="root"),
        event("login.failed", second=1, username="root", password="root"),
        event("login.success", second=2, username="root", password=""),
        event("session.params", arch="linux", message=[]),
        event("command.input", second=3, input="uname -a"),
        event("command.failed", second=3, input="uname -a"),
        event("command.input", second=4, input="uname -a"),
        event("session.file_download", second=5, shasum=SHA.upper(), url="http://bad.example/x"),
        event("session.file_download", second=5, shasum=SHA, url="http://bad.example/x"),
        event("session.file_upload", second=6, shasum="cd" * 32, filename="x"),
        event("session.closed", second=9, duration="9.1"),
    ]
    assert list(sessions(lines)) == [
        Session(
            session_id="s1",
            sensor="trap-1",
            src_ip="192.0.2.1",
            protocol="ssh",
            started_at=START + 250,
            ended_at=START + 9_250,
            credentials=(("root", "root"), ("root", "")),
            commands=((START + 3_250, "uname -a"), (START + 4_250, "uname -a")),
            downloads=((SHA, "http://bad.example/x"), ("cd" * 32, None)),
            client_version="SSH-2.0-Go",
            hassh="0123",
        )
    ]


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(only(event("login.failed", username="root", password="hunter2")))


def test_sessions_come_as_they_close_and_the_open_ones_at_the_end() -> None:
    lines = [event("session.connect", name) for name in "abc"] + [event("session.closed", "b")]
    assert [session.session_id for session in sessions(lines) if isinstance(session, Session)] == ["b", "a", "c"]
    assert isinstance(next(sessions(iter([*lines, "broken"]))), Session)


def test_the_oldest_ends_when_too_many_are_open() -> None:
    lines = [event("session.connect", name) for name in "abcd"] + [event("session.closed", "c")]
    found = sessions(lines, max_open=2)
    assert [session.session_id for session in found if isinstance(session, Session)] == ["a", "b", "c", "d"]


def test_sensors_and_new_connections_tell_sessions_of_one_id_apart() -> None:
    lines = [
        event("session.connect", sensor="x"),
        event("session.connect", sensor="y"),
        event("session.connect", sensor="x", src_ip="192.0.2.2"),
        event("command.input", sensor="y", input="id"),
    ]
    found = [item for item in sessions(lines) if isinstance(item, Session)]
    assert [(session.sensor, session.src_ip, len(session.commands)) for session in found] == [
        ("x", "192.0.2.1", 0),
        ("y", "192.0.2.1", 1),
        ("x", "192.0.2.2", 0),
    ]


def test_a_log_may_begin_and_end_in_a_session_and_be_out_of_order() -> None:
    session = only(event("command.input", second=7, input="id"), event("login.success", second=3))
    assert (session.started_at, session.ended_at) == (START + 3_250, START + 7_250)
    assert session.credentials == ()


@pytest.mark.parametrize(
    ("fields", "protocol"),
    [
        ({"protocol": "telnet"}, "telnet"),
        ({"system": "cowrie.telnet.factory.HoneyPotTelnetFactory"}, "telnet"),
        ({"system": "cowrie.ssh.factory.CowrieSSHFactory"}, "ssh"),
        ({}, "ssh"),
    ],
)
def test_protocol(fields: dict[str, Any], protocol: str) -> None:
    assert only(event("session.connect", **fields)).protocol == protocol


@pytest.mark.parametrize(
    ("fields", "downloads"),
    [
        ({"shasum": SHA, "url": "/dev/null"}, ((SHA, None),)),
        ({"shasum": SHA, "url": ""}, ((SHA, None),)),
        ({"shasum": "", "url": "http://bad.example/x"}, ()),
        ({"shasum": "ab", "url": "http://bad.example/x"}, ()),
        ({"url": "http://bad.example/x"}, ()),
    ],
)
def test_downloads(fields: dict[str, Any], downloads: tuple[tuple[str, str | None], ...]) -> None:
    assert only(event("session.file_download", **fields)).downloads == downloads


def test_bounds_of_a_session() -> None:
    count = max(MAX_COMMANDS, MAX_CREDENTIALS, MAX_DOWNLOADS) + 5
    session = only(
        *(event("command.input", input=str(number)) for number in range(count)),
        *(event("login.failed", username="root", password=str(number)) for number in range(count)),
        *(event("session.file_download", shasum=f"{number:064x}") for number in range(count)),
    )
    assert (len(session.commands), len(session.credentials), len(session.downloads)) == (
        MAX_COMMANDS,
        MAX_CREDENTIALS,
        MAX_DOWNLOADS,
    )
    assert session.credentials[0] == ("root", "0")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"eventid": "cowrie.session.connect", "src', "is no Cowrie event: "),
        ("Failed password for root", "is no Cowrie event: "),
        ("[]", "is no Cowrie event: "),
        ("{}", "is no Cowrie event: "),
        (b'{"eventid": "cowrie.command.input", "input": "\xff"}', "is no Cowrie event: "),
        ('{"eventid": "\ud800"}', "is no Cowrie event: "),
        ("[" * 100_000, "is no Cowrie event: "),
        (event("command.input", input=7), "is no Cowrie event: "),
        (event("session.connect", session=""), "is a Cowrie event without 'session'"),
        (event("session.connect", timestamp="yesterday"), "'timestamp' must be an ISO 8601 time"),
        (event("session.connect", timestamp=""), "'timestamp' must be an ISO 8601 time"),
    ],
)
def test_a_line_that_is_no_event_stops_nothing(line: str | bytes, reason: str) -> None:
    lines: list[str | bytes] = [line, event("session.connect")]
    reject, session = sessions(lines)
    assert isinstance(reject, Reject)
    assert (reject.line, reject.field) == (1, "line")
    assert reject.reason.startswith(reason)
    assert len(reject.text) <= 120
    assert isinstance(session, Session)


def test_a_session_without_an_address_is_rejected_by_its_first_line() -> None:
    lines = ["", event("session.connect", src_ip=None), event("session.closed", src_ip=None)]
    assert list(sessions(lines)) == [Reject(2, "s1", "value", "no event of this session has a 'src_ip'")]


def test_rejects_of_the_source_pass_and_other_events_do_not() -> None:
    broken = Reject(1, "x", "line", "is not UTF-8 text")
    lines: list[str | bytes | Reject] = [
        broken,
        "",
        " \n",
        b"\r\n",
        event("direct-tcpip.request"),
        '{"eventid": "cowrie.log.open"}',
    ]
    assert list(sessions(lines)) == [broken]


def test_bytes_and_text_with_line_ends() -> None:
    assert only(event("session.connect").encode() + b"\r\n") == only(event("session.connect") + "\n")


NAMES = st.sampled_from(["session.connect", "session.closed", "command.input", "login.failed", "session.file_upload"])


@given(st.lists(st.tuples(NAMES, st.sampled_from("abcd")), max_size=40), st.integers(1, 5))
def test_no_command_is_lost_or_doubled(events: list[tuple[str, str]], max_open: int) -> None:
    lines = [event(name, session, input=str(at)) for at, (name, session) in enumerate(events)]
    found = [item for item in sessions(lines, max_open) if isinstance(item, Session)]
    given_commands = [str(at) for at, (name, _) in enumerate(events) if name == "command.input"]
    assert sorted(text for session in found for _, text in session.commands) == sorted(given_commands)
    assert {session.session_id for session in found} == {session for _, session in events}


@given(st.lists(st.one_of(st.text(), st.binary())))
def test_any_line_is_a_reject_or_nothing(lines: list[str | bytes]) -> None:
    assert all(isinstance(item, Reject) for item in sessions(lines))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "closed_count", "command_count", "reject_lines"),
    [
        ("cowrie_2017", 422, 240, []),
        ("cowrie_2018", 22_237, 530, []),
        ("cowrie_2026_raw", 582, 3_034, [8177]),
        ("dshield_cowrie_attacks", 267, 28, []),
    ],
)
def test_real_logs(name: str, closed_count: int, command_count: int, reject_lines: list[int]) -> None:
    path = LOGS / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"the public threat data is not there: {path.name}")
    with gzip.open(path, "rt", errors="replace") as lines:
        written = Counter(line.split('"eventid":"')[1].split('"')[0] for line in lines)
    assert (written["cowrie.session.closed"], written["cowrie.command.input"]) == (closed_count, command_count)
    with open_source(path) as source:
        found = list(sessions(source))
    gathered = [item for item in found if isinstance(item, Session)]
    assert [item.line for item in found if isinstance(item, Reject)] == reject_lines
    assert len(gathered) >= closed_count
    assert sum(len(session.commands) for session in gathered) == command_count
    assert all(session.started_at <= session.ended_at for session in gathered)
