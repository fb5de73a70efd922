"""fail2ban with its own AbuseIPDB action, of which only the URL is changed, reports here."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from tests.http.conftest import AGENT, Api, LiveServer, fresh_ip, within

CONFIG: Final = Path("/etc/fail2ban")
ACTION: Final = CONFIG / "action.d" / "abuseipdb.conf"
THEIRS: Final = "https://api.abuseipdb.com"
SERVER: Final = shutil.which("fail2ban-server") or "/usr/bin/fail2ban-server"

pytestmark = pytest.mark.skipif(
    not (ACTION.exists() and Path(SERVER).exists() and shutil.which("curl")), reason="fail2ban or curl is not installed"
)


def test_the_very_line_of_the_action_reports(server: LiveServer, api: Api) -> None:
    """As fail2ban fills it in: the line is interpolated (``%%`` is a percent sign) and its tags replaced."""
    found = re.search(r"^actionban = (.+)$", ACTION.read_text(), re.MULTILINE)
    assert found
    assert THEIRS in found[1]
    address = fresh_ip()
    line = found[1].replace(THEIRS, server.url).replace("%%", "%")
    matches = "sshd[1]: Failed password for root from x; sshd[1]: `id` $HOME"
    tags = {"ip": address, "abuseipdb_apikey": AGENT, "abuseipdb_category": "18,22"}
    tags["matches"] = re.sub(r"([`$\"\\])", r"\\\1", matches)
    for name, value in tags.items():
        line = line.replace(f"<{name}>", value)

    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 0, done.stderr
    assert f'"ipAddress":"{address}"' in done.stdout
    detail = api.detail(address)
    assert (detail["category"], detail["metadata"]["comment"]) == ("bruteforce", f"{matches}\n...")


class Fail2ban:
    """A fail2ban that watches a log of its own."""

    def __init__(self, folder: Path, url: str, key: str) -> None:
        self.log = folder / "auth.log"
        self.log.touch()
        self._options = ["-c", str(folder / "config"), "-s", str(folder / "socket"), "-p", str(folder / "pid")]
        config = folder / "config"
        shutil.copytree(CONFIG, config, ignore=shutil.ignore_patterns("*.local", "jail.d"))
        action = config / "action.d" / "abuseipdb.conf"
        action.write_text(action.read_text().replace(THEIRS, url))
        (config / "fail2ban.local").write_text(f"[Definition]\nlogtarget = {folder}/f2b.log\ndbfile = None\n")
        (config / "jail.local").write_text(
            "[DEFAULT]\nbackend = polling\n\n[trial]\nenabled = true\nmaxretry = 2\nusedns = no\n"
            f"filter = sshd\nlogpath = {self.log}\n"
            f'action = abuseipdb[abuseipdb_apikey="{key}", abuseipdb_category="18,22"]\n'
        )
        self._process = subprocess.Popen(
            [SERVER, *self._options, "-f", "-x", "start"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def is_up(self) -> bool:
        """Whether it answers."""
        client = [SERVER.replace("-server", "-client"), *self._options, "status", "trial"]
        return subprocess.run(client, capture_output=True, check=False).returncode == 0

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture
def fail2ban(server: LiveServer, tmp_path: Path) -> Iterator[Fail2ban]:
    running = Fail2ban(tmp_path, server.url, AGENT)
    yield running
    running.stop()


def test_a_ban_of_a_running_fail2ban_is_a_report(fail2ban: Fail2ban, api: Api) -> None:
    address = fresh_ip()
    assert within(20, fail2ban.is_up)
    now = datetime.now(UTC).astimezone().strftime("%b %d %H:%M:%S")
    with fail2ban.log.open("a") as log:
        for port in range(3):
            log.write(f"{now} host sshd[7]: Failed password for root from {address} port {4000 + port} ssh2\n")

    assert within(20, lambda: api.get(f"/api/iocs/{address}").status_code == 200)
    assert f"Failed password for root from {address}" in api.detail(address)["metadata"]["comment"]
