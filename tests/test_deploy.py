"""The container and the systemd unit, as far as they can be judged without an engine and without an init."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from threatcloud.config import SETTINGS, load_settings
from threatcloud.http.protocol import ServerLimits

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "deploy" / "systemd" / "threat-cloud.service"
VARIABLES = {setting.variable for setting in SETTINGS}
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


class Instruction(NamedTuple):
    """One instruction of the Dockerfile, its continued lines joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """What follows the name, without flags."""
        return [word for word in self.text.split() if not word.startswith("--")]


def dockerfile() -> list[Instruction]:
    lines = [line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def final_stage() -> list[Instruction]:
    instructions = dockerfile()
    start = max(at for at, item in enumerate(instructions) if item.name == "FROM")
    return instructions[start:]


def only(name: str) -> Instruction:
    (found,) = [item for item in final_stage() if item.name == name]
    return found


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for item in final_stage() if item.name == "ENV" for word in item.words)


class TestDockerfile:
    def test_every_stage_begins_from_one_pinned_base(self) -> None:
        (argument,) = [item for item in dockerfile() if item.name == "ARG"]
        assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", argument.text)
        bases = [item.words[0] for item in dockerfile() if item.name == "FROM"]
        assert bases == ["${BASE}", "${BASE}"]

    def test_nothing_is_fetched_but_locked_wheels(self) -> None:
        assert not [item for item in dockerfile() if item.name == "ADD"]
        runs = [item.text for item in dockerfile() if item.name == "RUN"]
        assert not [run for run in runs if re.search(r"curl|wget|https?:|apt-get|git ", run)]
        for run in runs:
            if "pip" in run and " install" in run:
                assert ("--require-hashes" in run and "--only-binary=:all:" in run) or "--no-deps" in run

    def test_dependencies_are_installed_before_the_source_comes(self) -> None:
        texts = [f"{item.name} {item.text}" for item in dockerfile()]
        install = next(at for at, text in enumerate(texts) if "--require-hashes" in text)
        source = next(at for at, text in enumerate(texts) if text.startswith("COPY src"))
        assert install < source

    def test_it_does_not_run_as_root(self) -> None:
        user, group = only("USER").text.split(":")
        assert int(user) > 0
        assert int(group) > 0

    def test_nothing_is_changed_once_the_user_is_set(self) -> None:
        names = [item.name for item in final_stage()]
        assert not {"RUN", "COPY"} & set(names[names.index("USER") :])

    def test_it_says_how_it_is_reached_and_stopped(self) -> None:
        assert only("EXPOSE").text == environment()["TC_PORT"] == "4000"
        assert only("STOPSIGNAL").text == "SIGTERM"
        assert json.loads(only("VOLUME").text) == ["/data"]
        assert json.loads(only("ENTRYPOINT").text) == ["threat-cloud"]
        assert json.loads(only("CMD").text) == ["serve"]

    def test_its_settings_are_settings_and_only_data_is_written(self) -> None:
        ours = {name: value for name, value in environment().items() if name.startswith("TC_")}
        assert ours.keys() <= VARIABLES
        settings = load_settings({}, ours, ROOT)
        assert not settings.is_loopback
        assert {settings.db_path.parent, settings.secret_path.parent, Path(only("WORKDIR").text)} == {Path("/data")}

    def test_what_it_copies_is_in_the_build_context_and_secrets_are_not(self) -> None:
        copied = [
            word.rstrip("/")
            for item in dockerfile()
            if item.name == "COPY" and "--from" not in item.text
            for word in item.words[:-1]
        ]
        assert set(copied) == {"requirements.lock", "pyproject.toml", "README.md", "LICENSE", "src"}
        for name in copied:
            assert (ROOT / name).exists()
            assert in_context(name)
        for name in ("data", ".venv", ".git", "threat-cloud.toml", "data/threat-cloud.db.secret", "tests", "x.pyc"):
            assert not in_context(name)


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path through: the last pattern that fits counts."""
    let_through = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if line and not line.startswith("#") and (fnmatch(path, pattern) or fnmatch(Path(path).name, pattern)):
            let_through = line.startswith("!")
    return let_through


@contextmanager
def server_that_answers(status: int) -> Iterator[int]:
    """A server on a free port of this machine that answers everything with one status."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_request(self, *_args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
    assert asked == ["/health"]


class TestHealthCheck:
    def run(self, port: int) -> int:
        command = json.loads(only("HEALTHCHECK").text.partition("CMD ")[2])
        assert command[0] == "python"
        # A proxy in the environment must not be asked.
        environ = {"TC_PORT": str(port), "http_proxy": "http://192.0.2.1:9"}
        return subprocess.run(
            [sys.executable, *command[1:]], env=environ, check=False, stderr=subprocess.PIPE
        ).returncode

    def test_a_healthy_server_passes(self) -> None:
        with server_that_answers(200) as port:
            assert self.run(port) == 0

    def test_a_server_without_its_database_fails(self) -> None:
        with server_that_answers(503) as port:
            assert self.run(port) == 1

    def test_no_server_fails(self) -> None:
        with server_that_answers(200) as port:
            self.run(port)
        assert self.run(port) == 1


def unit() -> dict[str, dict[str, list[str]]]:
    """The unit by section and key; a key may stand several times."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in UNIT.read_text("utf-8").splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            keys = sections.setdefault(match[1], {})
        elif line and not line.startswith("#"):
            name, sign, value = line.partition("=")
            assert sign, f"no assignment: {line}"
            keys.setdefault(name, []).append(value)
    return sections


class TestSystemdUnit:
    def service(self, key: str) -> str:
        (value,) = unit()["Service"][key]
        return value

    def test_it_has_three_sections_and_is_wanted(self) -> None:
        assert list(unit()) == ["Unit", "Service", "Install"]
        assert unit()["Install"] == {"WantedBy": ["multi-user.target"]}

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("User", "threat-cloud"),
            ("StateDirectory", "threat-cloud"),
            ("StateDirectoryMode", "0700"),
            ("UMask", "0077"),
            ("Restart", "on-failure"),
            ("KillSignal", "SIGTERM"),
            ("ProtectSystem", "strict"),
            ("ProtectHome", "yes"),
            ("NoNewPrivileges", "yes"),
            ("CapabilityBoundingSet", ""),
            ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
            ("MemoryDenyWriteExecute", "yes"),
            ("SystemCallArchitectures", "native"),
            ("LimitCORE", "0"),
        ],
    )
    def test_it_is_hardened(self, key: str, value: str) -> None:
        assert self.service(key) == value

    def test_system_calls_are_those_of_a_service_and_no_more(self) -> None:
        assert unit()["Service"]["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]

    def test_its_limits_leave_room_for_those_of_the_server(self) -> None:
        limits = ServerLimits()
        assert int(self.service("LimitNOFILE")) >= 2 * limits.connections
        assert int(self.service("TimeoutStopSec")) >= limits.stop_grace_s + 10

    def test_its_settings_are_settings_and_the_data_is_in_the_state_directory(self) -> None:
        variables = dict(line.split("=", 1) for line in unit()["Service"]["Environment"])
        assert variables.keys() <= VARIABLES
        settings = load_settings({}, variables, ROOT)
        assert settings.db_path.parent == settings.secret_path.parent == Path("/var/lib/threat-cloud")

    @needs_systemd
    def test_systemd_understands_it(self, tmp_path: Path) -> None:
        text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={shutil.which('true')}", UNIT.read_text("utf-8"))
        copy = tmp_path / UNIT.name
        copy.write_text(text, "utf-8")
        done = subprocess.run(
            ["systemd-analyze", "verify", "--recursive-errors=no", copy], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")

    @needs_systemd
    def test_systemd_rates_it_as_well_confined(self) -> None:
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=15", UNIT],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
