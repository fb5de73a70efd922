"""``/api/keys``: making, listing, rotating and revoking keys, at once and for good."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.http.conftest import OPERATOR, Api, LiveServer, Start, bad_fields, fresh_ip, item, ok, refused


def make(api: Api, **body: Any) -> Any:
    """A new key."""
    return ok(api.post("/api/keys", json={"name": "test", **body}), 201)


def ahead(**time: float) -> str:
    """A time ahead."""
    return (datetime.now(UTC) + timedelta(**time)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def listed(api: Api, key_id: str) -> Any:
    """A key as it is listed."""
    [found] = [key for key in ok(api.get("/api/keys")) if key["id"] == key_id]
    return found


def test_a_new_key_works_at_once_with_its_scopes(server: LiveServer) -> None:
    made = make(server.client(), name="edge", scopes=["read"])

    client = server.client(made["key"])
    assert made["key"].startswith("tc_")
    assert len(made["key"]) >= 3 + 43, "256 bits"
    ok(client.get("/api/stats"))
    refused(client.get("/api/audit-log"), 403, "forbidden")
    refused(client.post("/api/threats", json={"threats": [item()]}), 403, "forbidden")


def test_a_key_is_shown_once(api: Api) -> None:
    made = make(api, name="once", scopes=["feeds", "read"], role="agent", expiresAt=ahead(days=1))

    found = listed(api, made["info"]["id"])

    assert found == made["info"]
    assert made["key"] not in api.get("/api/keys").text
    assert (found["name"], found["scopes"], found["role"], found["status"]) == (
        "once",
        ["feeds", "read"],
        "agent",
        "active",
    )
    assert found["mask"] == f"{made['key'][:4]}…{made['key'][-4:]}"
    assert found["revokedAt"] is None


def test_the_defaults_are_of_an_operator(api: Api) -> None:
    info = make(api)["info"]

    assert (info["scopes"], info["role"], info["expiresAt"]) == (["audit", "read", "write"], "operator", None)


def test_keys_of_the_environment_are_listed_without_the_key(api: Api) -> None:
    answer = api.get("/api/keys")

    masks = [key["mask"] for key in ok(answer)]
    assert f"{OPERATOR[:4]}…{OPERATOR[-4:]}" in masks
    assert OPERATOR not in answer.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "n" * 65}, "name"),
        ({"name": None}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["all"]}, "scopes"),
        ({"scopes": "read"}, "scopes"),
        ({"role": "king"}, "role"),
        ({"role": "feed"}, "role"),
        ({"role": "anonymous"}, "role"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "soon"}, "expiresAt"),
    ],
    ids=str,
)
def test_a_bad_field_is_named_and_no_key_made(api: Api, change: dict[str, Any], field: str) -> None:
    before = len(ok(api.get("/api/keys")))

    answer = api.post("/api/keys", json={"name": "bad", **change})

    assert [named.partition("[")[0] for named in bad_fields(answer)] == [field]
    assert len(ok(api.get("/api/keys"))) == before


def test_a_revoked_key_ends_at_once(server: LiveServer) -> None:
    api = server.client()
    made = make(api)
    client = server.client(made["key"])
    ok(client.get("/api/stats"))

    revoked = ok(api.delete(f"/api/keys/{made['info']['id']}"))

    assert revoked["status"] == "revoked"
    refused(client.get("/api/stats"), 401, "unauthenticated")
    found = listed(api, made["info"]["id"])
    assert (found["status"], found["revokedAt"] is None) == ("revoked", False)


def test_what_a_revoked_key_reported_stays(server: LiveServer) -> None:
    api, value = server.client(), fresh_ip()
    made = make(api)
    server.client(made["key"]).report(item(value))

    ok(api.delete(f"/api/keys/{made['info']['id']}"))

    assert api.detail(value)["sightings"] == 1


def test_a_rotated_key_works_on_for_the_overlap(server: LiveServer) -> None:
    api = server.client()
    old = make(api, scopes=["read"], role="agent", name="turning")

    new = ok(api.post(f"/api/keys/{old['info']['id']}/rotate", json={"overlapHours": 1}), 201)

    assert new["key"] != old["key"]
    assert new["info"]["id"] != old["info"]["id"]
    assert {name: new["info"][name] for name in ("name", "scopes", "role")} == {
        name: old["info"][name] for name in ("name", "scopes", "role")
    }
    for made in (old, new):
        ok(server.client(made["key"]).get("/api/stats"))
    assert ahead(minutes=59) < listed(api, old["info"]["id"])["expiresAt"] < ahead(minutes=61)


def test_without_an_overlap_the_old_key_ends_at_once(server: LiveServer) -> None:
    api = server.client()
    old = make(api)

    new = ok(api.post(f"/api/keys/{old['info']['id']}/rotate", json={"overlapHours": 0}), 201)

    refused(server.client(old["key"]).get("/api/stats"), 401, "unauthenticated")
    ok(server.client(new["key"]).get("/api/stats"))
    assert listed(api, old["info"]["id"])["status"] == "expired"


def test_a_rotation_does_not_lengthen_the_life_of_a_key(api: Api) -> None:
    end = ahead(minutes=5)
    old = make(api, expiresAt=end)

    ok(api.post(f"/api/keys/{old['info']['id']}/rotate", json={"overlapHours": 24}), 201)

    assert listed(api, old["info"]["id"])["expiresAt"] == end


@pytest.mark.parametrize("hours", [-1, 8761, "1", None])
def test_an_overlap_has_bounds(api: Api, hours: Any) -> None:
    key_id = make(api)["info"]["id"]

    assert bad_fields(api.post(f"/api/keys/{key_id}/rotate", json={"overlapHours": hours})) == ["overlapHours"]
    assert listed(api, key_id)["expiresAt"] is None


def test_a_key_that_is_none_is_a_404(api: Api) -> None:
    refused(api.delete("/api/keys/key_0000"), 404, "not_found")
    refused(api.post("/api/keys/key_0000/rotate", json={}), 404, "not_found")


def test_a_key_that_has_ended_is_a_409(api: Api) -> None:
    key_id = make(api)["info"]["id"]
    ok(api.delete(f"/api/keys/{key_id}"))

    refused(api.delete(f"/api/keys/{key_id}"), 409, "conflict")
    refused(api.post(f"/api/keys/{key_id}/rotate", json={}), 409, "conflict")


def test_a_key_of_the_environment_is_changed_there(api: Api) -> None:
    key_id = next(key["id"] for key in ok(api.get("/api/keys")) if key["name"] == "TC_API_KEYS")

    assert "TC_API_KEYS" in refused(api.delete(f"/api/keys/{key_id}"), 409, "conflict")["error"]


def test_keys_and_their_end_outlive_a_restart(start: Start) -> None:
    server = start()
    kept, ended = make(server.client()), make(server.client())
    ok(server.client().delete(f"/api/keys/{ended['info']['id']}"))
    server.stop()

    again = start()

    ok(again.client(kept["key"]).get("/api/stats"))
    refused(again.client(ended["key"]).get("/api/stats"), 401, "unauthenticated")
