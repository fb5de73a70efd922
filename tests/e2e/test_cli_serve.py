"""Starting and stopping a server from the command line, and what it tells a newcomer."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Callable

import pytest

from tests.e2e.conftest import PATIENCE_S, Place, Server


def run_curl_lines(server: Server, place: Place, **environ: str) -> None:
    """Has a shell run what the banner suggests, as it stands there, and checks what comes back."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    lines = [line for line in server.banner.splitlines() if line.startswith("  curl ")]
    report, look_up, blocklist = (
        subprocess.run(
            ["sh", "-c", line],
            env={**place.environ, **environ},
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        ).stdout
        for line in lines
    )
    assert json.loads(report)["data"]["new"] == 1
    assert json.loads(look_up)["data"]["value"] == "203.0.113.7"
    assert blocklist.startswith(b"# Threat Cloud IP Blocklist\n")


def test_the_first_key_is_left_in_a_private_file_that_the_printed_commands_use(place: Place) -> None:
    server = place.serve()
    path = place.folder / "data" / "first-key.txt"
    assert str(path) in server.banner
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() not in server.banner
    assert f"{server.url}/docs" in server.banner
    run_curl_lines(server, place)
    assert len(place.json("key", "list")) == 1
    assert server.stop(signal.SIGINT) == 0

    again = place.serve()
    assert f"$(cat {path})" in again.banner


def test_the_printed_commands_take_a_key_of_ones_own_from_the_environment(place: Place) -> None:
    server = place.serve(environ={"TC_API_KEYS": "my-own-secret-key:read+write"})
    assert "my-own-secret-key" not in server.banner
    run_curl_lines(server, place, TC_API_KEY="my-own-secret-key")
    assert server.stop(signal.SIGTERM) == 0


def test_on_a_terminal_the_key_is_shown_once_and_is_in_no_file(place: Place) -> None:
    ours, theirs = pty.openpty()
    process = place.start("serve", "--port", "0", "--log-level", "error", stderr=theirs)
    os.close(theirs)
    shown = b""
    while shown.count(b"curl ") < 3 or not shown.endswith(b"blocklist\r\n\r\n"):
        shown += os.read(ours, 4096)
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    os.close(ours)

    (key,) = set(re.findall(rb"tc_[\w-]{43}", shown))
    assert not (place.folder / "data" / "first-key.txt").exists()
    assert not any(key in path.read_bytes() for path in (place.folder / "data").iterdir())
    assert process.stdout is not None
    assert process.stdout.read() == b""


def test_a_wrong_setting_is_one_line_that_names_it(place: Place) -> None:
    cases: list[tuple[tuple[str, ...], dict[str, str], str]] = [
        (("--port", "http"), {}, "--port: got 'http', wants a port from 0 to 65535"),
        ((), {"TC_RATE_LIMIT_READ": "0"}, "TC_RATE_LIMIT_READ: got '0', wants a whole number from 1 to 1000000"),
        ((), {"TC_TLS_CERT": "/none"}, "TC_TLS_CERT: got '/none', wants the path of a file that exists"),
    ]
    for args, environ, line in cases:
        done = place.call("serve", *args, code=2, environ=environ)
        assert done.stderr.decode() == f"threat-cloud: {line}\n"
    assert not place.database.exists()


def test_other_machines_are_not_served_before_there_is_a_key(place: Place) -> None:
    done = place.run("serve", "--host", "0.0.0.0", "--port", "0", code=2)
    assert "threat-cloud key create" in done.stderr.decode()

    server = place.serve("--host", "0.0.0.0", environ={"TC_API_KEYS": "my-own-secret-key"})
    assert server.url.startswith("http://127.0.0.1:")
    assert server.stop() == 0


def test_a_second_server_on_a_database_or_a_port_is_refused_and_makes_no_key(
    place: Place, make_place: Callable[[str], Place]
) -> None:
    server = place.serve()
    done = place.run("serve", "--port", "0", code=5)
    assert re.search(rb"in use by process \d+; stop it first", done.stderr)

    other = make_place("other")
    done = other.run("serve", "--port", server.url.rpartition(":")[2], code=1)
    assert b"Cannot listen on 127.0.0.1 port" in done.stderr
    assert not (other.folder / "data" / "first-key.txt").exists()
    with contextlib.closing(sqlite3.connect(other.database)) as db:
        assert db.execute("SELECT count(*) FROM api_key").fetchone() == (0,)


def test_every_setting_has_a_flag(place: Place) -> None:
    from threatcloud.config import SETTINGS

    shown = place.call("serve", "--help").stdout.decode()
    for setting in SETTINGS:
        assert f"--{setting.field.replace('_', '-')}" in shown
        assert setting.variable in shown
