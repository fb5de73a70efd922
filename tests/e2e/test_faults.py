"""Three nodes behind HAProxy, a primary and a synchronous standby: what breaks costs no acknowledged write."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import repeat
from pathlib import Path

import psycopg
import pytest

from tests.e2e.faults import KNOWN, RECOVERY_S, Load, Site
from tests.e2e.postgres import OwnPostgres, own_postgres
from tests.e2e.processes import Line, Reply, wait_until
from tests.e2e.test_nodes import report
from tests.engines import binaries, outside
from tests.ways import NetworkWay

#: How soon a node that is cut off refuses what it can answer from the database alone.
REFUSAL_S = 8.0
#: What is reported to a node that is cut off, and again when it is not.
NEW = "91.190.0.3"
#: A path, and an address that is reported there.
Request = tuple[str, str | None]
READY: Request = "/ready", None
LOOK_UP: Request = f"/api/iocs/{KNOWN}", None
LIST: Request = "/api/feeds/ip-blocklist", None


def hold_the_turn(primary: OwnPostgres) -> None:
    """A transaction that says nothing holds what every commit needs."""
    with psycopg.connect(primary.url) as idle:
        idle.execute("SELECT 1 FROM commit_clock FOR UPDATE")
        time.sleep(3)


def promote(standby: OwnPostgres) -> None:
    with psycopg.connect(standby.url, autocommit=True) as connection:
        connection.execute("SELECT pg_promote()")


def test_no_acknowledged_write_is_lost_or_doubled_whatever_breaks(tmp_path: Path) -> None:
    programs = binaries()
    if programs is None or not (programs / "pg_basebackup").exists():
        pytest.skip("no PostgreSQL with pg_basebackup")
    took_s: dict[str, float] = {}
    with ExitStack() as stack:
        primary = stack.enter_context(own_postgres())
        standby = stack.enter_context(own_postgres(primary))
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        in_step = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: bool(outside(primary.url, in_step)), "the standby is synchronous")
        hosts = ",".join(url.partition("host=")[2] for url in (primary.url, standby.url))
        url = f"postgresql://test@/postgres?host={hosts}&target_session_attrs="
        environ = {"TC_DATABASE_POOL": "2", "TC_DATABASE_READ_URL": f"{url}prefer-standby"}
        site = Site(stack, tmp_path, [f"{url}read-write"] * 3, environ)
        load = Load(site.port, writers=4, readers=12)
        stack.callback(load.end)
        load.recovery_s()
        hold_the_turn(primary)
        took_s["pool and turn taken"] = load.recovery_s()
        site.kill(0)
        took_s["node killed"] = load.recovery_s()
        site.start_again(0)
        took_s["node back"] = seconds_to_serve(site, 0, "91.190.0.1")
        assert site.nodes[1].stop(signal.SIGTERM) == 0
        took_s["node stopped"] = load.recovery_s()
        site.start_again(1)
        took_s["node started"] = seconds_to_serve(site, 1, "91.190.0.2")
        primary.crash()
        time.sleep(0.5)
        primary.start()
        took_s["restart"] = load.recovery_s()
        wait_until(lambda: bool(outside(primary.url, in_step)), "the standby is synchronous")
        primary.crash(signal.SIGKILL)
        promote(standby)
        took_s["promotion"] = load.recovery_s()
        load.end()
        load.check(standby.url, took_s)


def test_a_node_that_is_cut_off_refuses_soon_and_serves_again(tmp_path: Path) -> None:
    if binaries() is None:
        pytest.skip("no PostgreSQL")
    took_s: dict[str, float] = {}
    with ExitStack() as stack:
        server = stack.enter_context(own_postgres())
        way = stack.enter_context(NetworkWay(server.url))
        site = Site(stack, tmp_path, [server.url, server.url, way.url])
        load = Load(site.port, writers=4, readers=8)
        stack.callback(load.end)
        load.recovery_s()
        wait_until(lambda: asked(site, LIST).status == 200, "the list is there")
        way.cut()
        requests = {"not ready": READY, "look-up refused": LOOK_UP, "report refused": ("/api/threats", NEW)}
        with ThreadPoolExecutor() as pool:
            took_s |= zip(requests, pool.map(refused_s, repeat(site), requests.values()), strict=True)
        assert max(took_s.values()) < REFUSAL_S
        took_s["refused once it is known"] = refused_s(site, LOOK_UP)
        assert asked(site, LIST).status == 200
        took_s["site, one node cut off"] = load.recovery_s()
        way.mend()
        took_s["node back"] = seconds_to_serve(site, 2, NEW)
        load.recovery_s()
        way.cut()
        began_s = time.monotonic()
        site.nodes[2].stop(signal.SIGTERM)
        took_s["stopped while cut off"] = time.monotonic() - began_s
        assert took_s["stopped while cut off"] < RECOVERY_S
        load.recovery_s()
        load.end()
        load.check(server.url, took_s)


def refused_s(site: Site, request: Request) -> float:
    """How long until a node that is cut off refuses a request, in a way that says when to come again."""
    began_s = time.monotonic()
    while (reply := asked(site, request)).status == 200:  # what it found out a second ago
        time.sleep(0.1)
    assert reply.status == 503
    assert "retry-after" in reply.headers
    return time.monotonic() - began_s


def asked(site: Site, request: Request, number: int = 2) -> Reply:
    """What one node answers; a report that is told again counts once."""
    path, reported = request
    with closing(Line(site.nodes[number].url)) as line:
        if reported is None:
            return line.ask("GET", path)
        return line.ask("POST", path, report(reported), {"Idempotency-Key": reported})


def seconds_to_serve(site: Site, number: int, value: str) -> float:
    """How long until a node is ready and acknowledges a report, which it must soon."""
    began_s = time.monotonic()
    wait_until(lambda: asked(site, READY, number).status == 200, "the node is ready")
    assert asked(site, ("/api/threats", value), number).status == 201
    took_s = time.monotonic() - began_s
    assert took_s < RECOVERY_S
    return took_s
