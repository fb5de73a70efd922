"""The command line with ``TC_DATABASE_URL``: the same commands, over a database that a server may have open or not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import NOTHING, Place


@pytest.fixture
def over(place: Place, url: str) -> Place:
    """A place whose commands are over a PostgreSQL database without tables."""
    place.environ["TC_DATABASE_URL"] = url
    return place


def asked(place: Place, *words: str, environ: Mapping[str, str] = NOTHING) -> Any:
    """What a command prints with ``--json``."""
    return json.loads(place.call(*words, "--json", environ=environ).stdout)


def test_commands_work_with_and_without_a_server_on_the_same_data(over: Place) -> None:
    over.call("key", "create", "one")
    server = over.serve()
    assert [key["name"] for key in asked(over, "key", "list")] == ["one"]
    over.call("key", "create", "two")
    assert server.stop() == 0
    assert {key["name"] for key in asked(over, "key", "list")} == {"one", "two"}
    assert not over.database.exists()


def test_the_ledger_is_verified_with_the_secret_of_the_database(over: Place) -> None:
    over.call("key", "create", "one")
    verdict = asked(over, "audit", "verify")
    assert verdict["entries"] == 1
    assert verdict["problem"] is None


def test_a_file_that_is_named_counts_before_the_address(over: Place) -> None:
    over.call("key", "create", "one", "--db-path", "data/threat-cloud.db")
    assert over.database.exists()
    assert asked(over, "key", "list") == []


def test_backups_are_left_to_the_tools_of_the_engine(over: Place) -> None:
    for command in ("backup", "restore"):
        assert b"pg_dump" in over.call(command, "copy.db", code=2).stderr


def test_several_workers_are_refused_with_the_next_step(over: Place) -> None:
    said = over.call("serve", "--workers", "2", code=2).stderr
    assert b"TC_WORKERS" in said
    assert b"start several nodes" in said


def test_what_is_no_address_is_refused_without_being_shown(place: Place) -> None:
    said = place.call("serve", code=2, environ={"TC_DATABASE_URL": "mysql://root:hunter2@db/x"}).stderr
    assert b"TC_DATABASE_URL" in said
    assert b"hunter2" not in said


def test_a_server_that_does_not_answer_is_named_with_the_next_step(place: Place, tmp_path: Path) -> None:
    url = f"postgresql://nobody:hunter2@/nothing?host={tmp_path}"
    said = place.call("serve", code=5, environ={"TC_DATABASE_URL": url}).stderr
    assert b"cannot open the database" in said
    assert b"TC_DATABASE_URL" in said
    assert b"hunter2" not in said


def test_missing_packages_are_named_with_the_next_step(over: Place) -> None:
    blocked = over.folder / "blocked" / "psycopg"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('not here')")
    said = over.run("stats", code=2, environ={"PYTHONPATH": str(blocked.parent)}).stderr
    assert b"pip install 'threat-cloud[postgres]'" in said


def test_a_secret_file_is_the_same_on_every_node(over: Place) -> None:
    secret = over.folder / "secret"
    secret.write_text("ab" * 32)
    secret.chmod(0o600)
    with_file = {"TC_SECRET_FILE": str(secret)}
    key = asked(over, "key", "create", "one", environ=with_file)["key"]
    assert key
    assert b"set TC_SECRET_FILE" in over.call("key", "list", code=1).stderr
    secret.write_text("cd" * 32)
    assert b"is not the secret" in over.call("key", "list", code=1, environ=with_file).stderr
    secret.unlink()
    assert b"cannot read the secret file" in over.call("key", "list", code=1, environ=with_file).stderr
