"""How several reports become one indicator: counts, times, metadata, severity, source and category."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.http.conftest import AGENT, COMMUNITY, Api, LiveServer, Start, fresh_ip, item


def days_ago(days: float) -> str:
    """The time so many days ago."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")


def merged(api: Api, *reports: dict[str, Any]) -> Any:
    """The indicator that several reports of one fresh address make, one request each."""
    value = fresh_ip()
    for more in reports:
        api.report({**item(value), **more})
    return api.detail(value)


def test_every_report_is_a_sighting(api: Api) -> None:
    assert merged(api, {}, {}, {"source": "other"})["sightings"] == 3


def test_first_and_last_seen_go_by_observation_and_updates_by_receipt(api: Api) -> None:
    found = merged(
        api,
        {"timestamp": "2026-03-02T00:00:00Z"},
        {"timestamp": "2026-03-01T00:00:00Z"},
        {"timestamp": "2026-03-05T00:00:00Z"},
        {"timestamp": "2026-03-04T00:00:00Z"},
    )

    assert found["firstSeen"] == "2026-03-01T00:00:00.000Z"
    assert found["lastSeen"] == "2026-03-05T00:00:00.000Z"
    assert found["updatedAt"] > found["lastSeen"]


def test_scalars_gather_into_lists_and_each_value_stands_once(api: Api) -> None:
    found = merged(
        api,
        {"metadata": {"port": 22, "mitreId": "t1110", "protocol": "tcp"}},
        {"metadata": {"ports": [80, 22], "mitreIds": ["T1110", "T1190"], "protocols": ["udp"]}},
        {"metadata": {"port": 443, "mitreId": "T1110.001"}},
    )["metadata"]

    assert sorted(found["ports"]) == [22, 80, 443]
    assert sorted(found["mitreIds"]) == ["T1110", "T1110.001", "T1190"]
    assert sorted(found["protocols"]) == ["tcp", "udp"]
    assert not {"port", "mitreId", "protocol"} & found.keys()


def test_lists_keep_the_100_newest(api: Api) -> None:
    found = merged(api, {"metadata": {"ports": list(range(1, 91))}}, {"metadata": {"ports": list(range(200, 240))}})

    ports = found["metadata"]["ports"]
    assert len(ports) == 100
    assert set(range(200, 240)) <= set(ports)
    assert 1 not in ports


def test_a_value_seen_again_is_new_again(api: Api) -> None:
    found = merged(
        api,
        {"metadata": {"ports": list(range(1, 101))}},
        {"metadata": {"port": 1}},
        {"metadata": {"port": 500}},
    )

    assert {1, 500} <= set(found["metadata"]["ports"])
    assert 2 not in found["metadata"]["ports"]


def test_attempts_add_up_and_other_scalars_are_of_the_latest(api: Api) -> None:
    found = merged(
        api,
        {"metadata": {"attempts": 10, "username": "root", "client": "a"}},
        {"metadata": {"attempts": 5, "username": "admin"}},
        {},
    )["metadata"]

    assert (found["attempts"], found["username"], found["client"]) == (15, "admin", "a")


def test_a_batch_merges_as_single_reports_do(api: Api) -> None:
    value = fresh_ip()

    api.report(*(item(value, metadata={"port": port, "attempts": 2}) for port in (1, 2, 3)))

    found = api.detail(value)
    assert (found["metadata"]["ports"], found["metadata"]["attempts"], found["sightings"]) == ([1, 2, 3], 6, 3)


def test_our_own_country_outranks_a_reporters(api: Api) -> None:
    api.report(item("91.240.250.1", metadata={"country": "ZZ"}))

    assert api.detail("91.240.250.1")["metadata"]["country"] not in ("ZZ", None)


def test_a_reporters_country_and_asn_stand_where_we_have_none(api: Api) -> None:
    api.report(item("10.77.0.1", metadata={"country": "de", "asn": 64496}))
    api.report(item("10.77.0.2", metadata={"country": "DE", "asn": "as64497"}))

    shown = [api.detail(f"10.77.0.{number}")["metadata"] for number in (1, 2)]
    assert [(one["country"], one["asn"]) for one in shown] == [("DE", "AS64496"), ("DE", "AS64497")]


def test_lists_that_nobody_filled_are_empty(api: Api) -> None:
    found = merged(api, {})

    assert [found["metadata"][name] for name in ("ports", "protocols", "mitreIds")] == [[], [], []]
    assert (found["tags"], found["relatedIocs"], found["campaigns"], found["networks"]) == ([], [], [], [])


def test_tags_gather_beside_the_metadata(api: Api) -> None:
    found = merged(api, {"metadata": {"tags": ["a", "b"]}}, {"metadata": {"tags": ["c", "a"]}})

    assert sorted(found["tags"]) == ["a", "b", "c"]
    assert "tags" not in found["metadata"]


def test_techniques_are_named(api: Api) -> None:
    found = merged(api, {"metadata": {"mitreIds": ["T1110", "T1078"]}})

    named = {technique["id"]: (technique["name"], technique["tactic"]) for technique in found["techniques"]}
    assert named == {"T1110": ("Brute Force", "Credential Access"), "T1078": ("Valid Accounts", "Initial Access")}


@pytest.mark.parametrize(
    ("reports", "worst"),
    [
        ([(0, "low"), (0, "critical"), (0, "medium")], "critical"),
        ([(29, "critical"), (0, "low")], "critical"),
        ([(31, "critical"), (0, "low")], "low"),
        ([(0, "low"), (31, "critical")], "low"),
        ([(40, "critical"), (20, "high"), (0, "low")], "high"),
        ([(40, "critical"), (0, None)], None),
        ([(0, None)], None),
    ],
)
def test_severity_is_the_worst_of_the_last_30_days(
    api: Api, reports: list[tuple[int, str | None]], worst: str | None
) -> None:
    found = merged(api, *({"severity": severity, "timestamp": days_ago(days)} for days, severity in reports))

    assert found["severity"] == worst


def shown(api: Api, value: str) -> tuple[Any, Any]:
    """Source and category as search shows them."""
    [found] = api.get("/api/iocs", params={"search": value}).json()["data"]
    return found["source"], found["category"]


def test_source_and_category_are_of_the_heaviest_report(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value, source="weak", category="scanner", severity="low", confidence=0.2))
    api.report(item(value, source="strong", category="c2", severity="critical", confidence=1.0))
    api.report(item(value, source="late", category="botnet", severity="medium", confidence=0.3))

    assert shown(api, value) == ("strong", "c2")
    assert api.detail(value)["sources"] == ["late", "strong", "weak"]
    assert "source" not in api.detail(value)


def test_of_equal_reports_the_newest_is_shown(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value, source="zeta", category="c2", timestamp=days_ago(3)))
    api.report(item(value, source="alpha", category="botnet", timestamp=days_ago(1)))
    api.report(item(value, source="middle", category="scanner", timestamp=days_ago(2)))

    assert shown(api, value) == ("alpha", "botnet")


def test_the_heaviest_report_need_not_be_the_loudest_claim(server: LiveServer) -> None:
    """What counts is the key: a stranger's critical does not outweigh an operator's high."""
    api, value = server.client(), fresh_ip()
    server.client(COMMUNITY[0]).report(item(value, source="honeypot", category="c2", severity="high", confidence=0.9))
    api.report(item(value, source="guard-agent", category="scanner", severity="high", confidence=0.9))

    assert shown(api, value) == ("guard-agent", "scanner")


def test_a_report_without_a_category_hides_none(api: Api) -> None:
    value = fresh_ip()
    api.report(item(value, source="a", category="c2", severity="low"))
    api.report(item(value, source="b", severity="critical", confidence=1.0))

    assert shown(api, value)[1] == "c2"


def test_related_indicators_are_found_from_both_ends(api: Api) -> None:
    left, right, unheard = fresh_ip(), fresh_ip(), fresh_ip()
    api.report(item(left, metadata={"relatedTo": [f"hxxp://{right}"[7:], unheard, "no indicator"]}))
    api.report(item(right))

    [related] = api.detail(left)["relatedIocs"]
    assert (related["value"], related["type"]) == (right, "ip")
    assert related["relation"]
    assert [other["value"] for other in api.detail(right)["relatedIocs"]] == [left]


def test_merging_survives_a_restart(start: Start) -> None:
    server, value = start(), fresh_ip()
    server.client().report(item(value, metadata={"port": 22, "attempts": 3}, category="scanner"))
    before = server.client().detail(value)
    server.stop()

    again = start().client()

    assert again.detail(value) == before
    again.report(item(value, metadata={"port": 80, "attempts": 4}))
    after = again.detail(value)
    assert (after["metadata"]["ports"], after["metadata"]["attempts"], after["sightings"]) == ([22, 80], 7, 2)
    assert after["updatedAt"] > before["updatedAt"]


def test_reporters_of_one_indicator_are_told_apart(server: LiveServer) -> None:
    value = fresh_ip()
    for key in (None, AGENT):
        (server.client(key) if key else server.client()).report(item(value, source="same"))

    explained = server.client().get(f"/api/iocs/{value}/explain").json()["data"]

    assert len({term["reporter"] for term in explained["terms"] if term["reporter"]}) == 2
