"""What each format makes, read by the program that it is for; skipped where that is not installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.formats.feeds.lists import GOOD, rendered, snapshot
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import find_format, render

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
#: What is done with the file, by format. Twice where a list has to replace the one before.
COMMANDS = {
    "nftables": "nft -c -f {file} && nft -f {file} && nft -f {file} && nft list table inet threat_cloud",
    "ipset": "ipset restore < {file} && ipset restore < {file} && ipset list threat-cloud-4",
    "iptables": "iptables-restore -n --test {file} && iptables-restore -n {file} && iptables-restore -n {file}",
    "ip6tables": "ip6tables-restore -n --test {file} && ip6tables-restore -n {file} && ip6tables-restore -n {file}",
    "rpz": "named-checkzone -k fail rpz.threat-cloud.example {file}",
    "unbound": "unbound-checkconf {file}",
    "dnsmasq": "dnsmasq --test --conf-file={file}",
}
#: Those that speak to the kernel, in a network of their own.
IN_NAMESPACE = {"nftables", "ipset", "iptables", "ip6tables"}


def run(name: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Has the consumer of a format read a file."""
    command = COMMANDS[name].format(file=path)
    program = command.split()[0]
    if shutil.which(program, path=PATH) is None:
        pytest.skip(f"{program} is not installed")
    apart = ["unshare", "-rn"] if name in IN_NAMESPACE else []
    if apart and subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("there can be no network namespace here")
    environ = {**os.environ, "PATH": PATH}
    return subprocess.run([*apart, "sh", "-c", command], capture_output=True, text=True, check=False, env=environ)


@pytest.mark.parametrize("name", COMMANDS)
def test_its_consumer_takes_a_format(name: str, tmp_path: Path) -> None:
    format_ = find_format(name)
    for kind in format_.kinds:
        path = tmp_path / f"{kind}.conf"
        for body in (rendered(format_, kind), render(format_, snapshot(kind, ())).body):
            path.write_bytes(body)

            done = run(name, path)

            assert done.returncode == 0, done.stdout + done.stderr


def test_nftables_has_the_sets_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "list.nft"
    path.write_bytes(rendered(find_format("nftables"), IndicatorType.IP))

    listed = run("nftables", path).stdout

    assert "203.0.113.0/24" in listed
    assert all(value.removesuffix("/32") in listed for value in GOOD[IndicatorType.IP] if value != "203.0.113.9")
