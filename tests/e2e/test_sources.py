"""Sources from the command line, and over a kill in the middle of a poll."""

import signal
import time

from tests.e2e.conftest import Place
from tests.sites import Got, Says, running_site

ENVIRON = {"TC_OUTBOUND_ALLOW": "127.0.0.1"}


def test_commands_add_poll_list_and_remove(place: Place) -> None:
    place.serve(environ=ENVIRON)
    with running_site() as site:
        site.answer = lambda _: Says(200, b"91.231.0.1\n91.231.0.2\n8.8.8.8\n")
        place.call("source", "add", f"{site.url}/x.txt", "--name", "feed:mine", "--format", "plain", "--every", "1h")
        assert b"91.231" not in place.call("source", "list").stdout
        done = place.json("source", "poll", "feed:mine")
        assert (done["entries"], done["everySeconds"], done["state"]) == (3, 3600, "good")
        assert place.json("ioc", "get", "91.231.0.1")["sources"] == ["feed:mine"]
        assert b"feed:mine" in place.call("source", "list").stdout
        site.answer = lambda _: Says(500)
        assert b"answered 500" in place.call("source", "poll", "feed:mine", code=1).stderr
        place.call("source", "confirm", "feed:mine", code=1)
        place.call("source", "remove", "feed:mine")
        place.call("source", "poll", "feed:mine", code=3)
        assert place.json("source", "list") == []
        place.call("source", "add", site.url, "--every", "often", code=2)


def test_a_kill_in_the_middle_of_a_poll_leaves_nothing_undone(place: Place) -> None:
    with running_site() as site:
        body = "".join(f"91.{200 + n // 62_500}.{n // 250 % 250}.{n % 250 + 1}\n" for n in range(30_000)).encode()
        site.answer = lambda _: Says(200, body)
        server = place.serve(environ=ENVIRON)
        place.call("source", "add", site.url, "--name", "feed:big", "--format", "plain", environ=ENVIRON)
        place.wait_for_rows(1)
        server.stop(signal.SIGKILL)
        began_with = place.rows()

        def answer(_: Got) -> Says:
            return Says(200, body)

        site.answer = answer
        place.serve(environ=ENVIRON)
        until = time.monotonic() + 60
        while place.json("source", "list")[0]["entries"] != 30_000:
            assert time.monotonic() < until, (began_with, place.rows())
            time.sleep(0.2)
        assert place.rows() == 30_000
        assert not list(place.database.parent.glob(".source-*")), "what the kill left is cleared away"
