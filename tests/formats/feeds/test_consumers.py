"""What each format makes, read by the program that it is for; skipped where that is not installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.formats.feeds.lists import GOOD, rendered, snapshot
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import find_format, render
from threatcloud.formats.feeds.changes import Change, Versions
from threatcloud.formats.feeds.format import render_delta

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
    "yara": "yara {file} {file}",
}
#: Those that speak to the kernel, in a network of their own.
IN_NAMESPACE = {"nftables", "ipset", "iptables", "ip6tables"}


def run(name: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Has the consumer of a format read a file."""
    return run_command(COMMANDS[name].format(file=path), apart=name in IN_NAMESPACE)


def run_command(command: str, *, apart: bool) -> subprocess.CompletedProcess[str]:
    """Runs a command, in a network of its own or not; skips where the program is not there."""
    program = command.split(maxsplit=1)[0]
    if shutil.which(program, path=PATH) is None:
        pytest.skip(f"{program} is not installed")
    before = ["unshare", "-rn"] if apart else []
    if before and subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("there can be no network namespace here")
    environ = {**os.environ, "PATH": PATH}
    return subprocess.run([*before, "sh", "-c", command], capture_output=True, text=True, check=False, env=environ)


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


#: What shows what a filter holds.
SHOWN = {
    "nftables": "nft -f {base} && nft -f {delta} && nft list table inet threat_cloud",
    "ipset": "ipset restore < {base} && ipset restore < {delta} && ipset save",
    "iptables": "iptables-restore -n {base} && iptables-restore -n {delta} && iptables -S THREAT-CLOUD",
    "ip6tables": "ip6tables-restore -n {base} && ip6tables-restore -n {delta} && ip6tables -S THREAT-CLOUD",
}
OLD = ("198.51.100.6", "198.51.100.7", "203.0.113.0/24", "192.0.2.1", "2001:db8::6", "2001:db8::7")
NEW = ("198.51.100.7", "203.0.113.0/24", "203.0.112.0/24", "2001:db8::7", "2001:db8:1::/48")


@pytest.mark.parametrize("name", SHOWN)
def test_a_filter_with_a_delta_holds_what_the_whole_list_says(name: str, tmp_path: Path) -> None:
    format_ = find_format(name)
    assert format_.delta is not None
    kind = IndicatorType.IP
    old, new = (OLD, NEW) if format_.delta.needs_lists else (tuple(set(OLD) - set(NEW)), tuple(set(NEW) - set(OLD)))
    changed = render_delta(format_, [Change(snapshot(kind, new), snapshot(kind, old))], Versions("v1", "v2")).body
    nothing = b"*filter\nCOMMIT\n" if "tables" in name and name != "nftables" else b""
    shown = []
    for base, delta in ((OLD, changed), (NEW, nothing)):
        (tmp_path / "base").write_bytes(render(format_, snapshot(kind, base)).body)
        (tmp_path / "delta").write_bytes(delta)
        command = SHOWN[name].format(base=tmp_path / "base", delta=tmp_path / "delta")
        done = run_command(command, apart=True)
        assert done.returncode == 0, done.stdout + done.stderr
        shown.append(sorted(line.strip(" ,}") for line in done.stdout.splitlines() if "initval" not in line))
    assert shown[0] == shown[1]
