"""Resolvers that were really started with a list, and asked; skipped where they are not installed."""

import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.formats.feeds.lists import rendered
from tests.formats.feeds.test_consumers import PATH
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds import find_format

NO_ERROR, NO_SUCH_NAME = 0, 3
START_S = 10
#: A name that the resolver itself knows.
GOOD = "good.test"

Command = Callable[[Path, int], list[str]]


def _unbound(folder: Path, port: int, module: str, more: str) -> list[str]:
    text = f"""
server:
  interface: 127.0.0.1@{port}
  do-tcp: no
  do-daemonize: no
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  directory: "{folder}"
  module-config: "{module}"
  local-data: "{GOOD}. A 192.0.2.5"
{more}
remote-control:
  control-enable: no
"""
    (folder / "unbound.conf").write_text(text)
    return ["unbound", "-d", "-c", str(folder / "unbound.conf")]


def unbound(folder: Path, port: int) -> list[str]:
    """With the list included."""
    (folder / "list.conf").write_bytes(rendered(find_format("unbound"), IndicatorType.DOMAIN))
    return _unbound(folder, port, "iterator", f'include: "{folder / "list.conf"}"')


def unbound_rpz(folder: Path, port: int) -> list[str]:
    """With the list as a response policy zone."""
    (folder / "list.zone").write_bytes(rendered(find_format("rpz"), IndicatorType.DOMAIN))
    zone = f'rpz:\n  name: rpz.threat-cloud\n  zonefile: "{folder / "list.zone"}"'
    return _unbound(folder, port, "respip iterator", zone)


def dnsmasq(folder: Path, port: int) -> list[str]:
    """With the list as its configuration."""
    path = folder / "list.conf"
    path.write_bytes(rendered(find_format("dnsmasq"), IndicatorType.DOMAIN))
    ours = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces", "--pid-file=", "--user=root"]
    where = [f"--port={port}", "--listen-address=127.0.0.1", f"--conf-file={path}", f"--address=/{GOOD}/192.0.2.5"]
    return ["dnsmasq", *ours, *where]


def ask(port: int, name: str) -> int:
    """The code a resolver answers a question for an address with (RFC 1035 section 4)."""
    labels = b"".join(struct.pack("B", len(label)) + label.encode() for label in name.split("."))
    question = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect(("127.0.0.1", port))
        client.send(question)
        return client.recv(512)[3] & 0x0F


@contextmanager
def running(command: Command, folder: Path) -> Iterator[int]:
    """The port of a resolver that answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    words = command(folder, port)
    if shutil.which(words[0], path=PATH) is None:
        pytest.skip(f"{words[0]} is not installed")
    environ = {**os.environ, "PATH": PATH}
    process = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        _wait(process, port)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=START_S)


def _wait(process: "subprocess.Popen[str]", port: int) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            assert ask(port, GOOD) == NO_ERROR
        except OSError:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until, "it does not answer"
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("command", [unbound, unbound_rpz, dnsmasq], ids=lambda command: command.__name__)
def test_a_resolver_says_that_listed_names_and_those_below_do_not_exist(command: Command, tmp_path: Path) -> None:
    with running(command, tmp_path) as port:
        for name in ("bad.example", "www.bad.example", "xn--bd-via.example", "_dmarc.worse.example"):
            assert ask(port, name) == NO_SUCH_NAME, name
        assert ask(port, GOOD) == NO_ERROR
