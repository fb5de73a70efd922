"""``/ready``: whether a server can serve, and in words what keeps it from that."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import apsw

from tests.http.conftest import LiveServer, Start, ok, refused, within


def test_a_server_that_can_serve_says_so_to_anyone(server: LiveServer) -> None:
    anyone = server.client(key=None)

    assert within(5, lambda: anyone.get("/ready").status_code == 200)
    assert ok(anyone.get("/ready")) == {"status": "ready"}
    ok(server.client(key="no-such-key").get("/ready"))


def test_a_database_that_takes_no_commit_is_not_ready_and_alive_until_it_does(start: Start) -> None:
    live = start()
    anyone = live.client(key=None)
    assert within(5, lambda: anyone.get("/ready").status_code == 200)

    with closing(apsw.Connection(str(live.settings.db_path))) as other:
        other.execute("BEGIN IMMEDIATE")
        assert within(5, lambda: anyone.get("/ready").status_code == 503)
        refusal = refused(anyone.get("/ready"), 503, "not_ready")
        ok(anyone.get("/health"))
        other.execute("ROLLBACK")

    assert refusal["error"] == "the database took no commit within 2 s"
    assert within(5, lambda: anyone.get("/ready").status_code == 200)


def test_whoever_asks_keeps_no_writer_busy(server: LiveServer) -> None:
    def commits() -> int:
        text = server.client().get("/metrics").text
        return int(float(text.partition("\nthreatcloud_writer_units_total ")[2].partition("\n")[0]))

    def ask(_: int) -> int:
        return server.client(key=None).get("/ready").status_code

    ok(server.client(key=None).get("/ready"))
    before = commits()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(40))) == {200}

    assert commits() - before < 20
