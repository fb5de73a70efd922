"""AbuseIPDB APIv2: what its clients send is stored, and what they read is as its documentation has it."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.engines import Engine
from tests.http.conftest import (
    COMMUNITY,
    FEEDS_ONLY,
    OPERATOR,
    READER,
    WRITER,
    Api,
    LiveServer,
    Start,
    fresh_ip,
    item,
    ok,
    serve_in,
    within,
)

HOSTILE = ("a\nb: c", 'q"uo`te;|$(x)', "\u202egnp.exe\x1b[31m", "x" * 60_000, "\0")


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Api:
    """A client that knows AbuseIPDB only."""
    return server.client(None, {"Key": OPERATOR, "Accept": "application/json"})


def data(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()["data"]


def errors(answer: httpx.Response, status: int) -> list[Any]:
    """The errors of a refusal, each of which says the status again."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.keys() == {"errors"}
    assert all(error["detail"] and error["status"] == status for error in body["errors"])
    found: list[Any] = body["errors"]
    return found


def parameters(answer: httpx.Response) -> list[str]:
    return [error["source"]["parameter"] for error in errors(answer, 422)]


def report(client: Api, ip: str, categories: str = "18,22", **more: str) -> Any:
    return data(client.post("/api/v2/report", data={"ip": ip, "categories": categories, **more}))


def check(client: Api, ip: str, **params: Any) -> Any:
    return data(client.get("/api/v2/check", params={"ipAddress": ip, **params}))


class TestReport:
    def test_a_form_is_stored_with_its_categories_in_our_words(self, client: Api, api: Api) -> None:
        address = fresh_ip()

        said = report(client, address, comment="sshd: 5 failures", timestamp="2026-03-07T08:15:00+01:00")

        assert said == {"ipAddress": address, "abuseConfidenceScore": said["abuseConfidenceScore"]}
        found = api.detail(address)
        assert (found["category"], found["severity"], found["tags"]) == ("bruteforce", "high", ["brute-force", "ssh"])
        assert found["metadata"]["mitreIds"] == ["T1110"]
        assert found["metadata"]["protocols"] == ["ssh"]
        assert found["firstSeen"] == "2026-03-07T07:15:00.000Z"

    @pytest.mark.parametrize("categories", ["14", [14], "14, 14"])
    def test_json_is_taken_too(self, client: Api, api: Api, categories: Any) -> None:
        address = fresh_ip()

        data(client.post("/api/v2/report", json={"ip": address, "categories": categories}))

        assert api.detail(address)["category"] == "scanner"

    def test_a_report_of_now_is_on_the_blocklist(self, client: Api, api: Api) -> None:
        address = fresh_ip()

        assert report(client, address)["abuseConfidenceScore"] == 100
        assert within(3, lambda: address in api.blocked())

    def test_a_report_of_a_stranger_is_not(self, server: LiveServer, api: Api) -> None:
        address = fresh_ip()
        stranger = server.client(None, {"Key": COMMUNITY[0]})

        assert report(stranger, address)["abuseConfidenceScore"] < 100
        assert not within(2, lambda: address in api.blocked())

    def test_ipv6_is_reported_in_its_canonical_form(self, client: Api) -> None:
        assert report(client, "2A0E:0:0::7")["ipAddress"] == "2a0e::7"

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({}, ["ip"]),
            ({"ip": "91.240.1.1"}, ["categories"]),
            ({"ip": "nonsense", "categories": "18"}, ["ip"]),
            ({"ip": "91.240.1.0/24", "categories": "18"}, ["ip"]),
            ({"ip": "fe80::1%eth0", "categories": "18"}, ["ip"]),
            ({"ip": "91.240.1.1", "categories": "24"}, ["categories"]),
            ({"ip": "91.240.1.1", "categories": "18,x"}, ["categories"]),
            ({"ip": "91.240.1.1", "categories": ","}, ["categories"]),
            ({"ip": "91.240.1.1", "categories": "18", "timestamp": "yesterday"}, ["timestamp"]),
            ({"ip": "91.240.1.1", "categories": "18", "timestamp": "2099-01-01"}, ["timestamp"]),
            ({"ip": "x", "categories": "x"}, ["categories", "ip"]),
        ],
    )
    def test_what_is_wrong_is_named_by_its_parameter(
        self, client: Api, fields: dict[str, str], wrong: list[str]
    ) -> None:
        assert parameters(client.post("/api/v2/report", data=fields)) == wrong

    @pytest.mark.parametrize("comment", HOSTILE)
    def test_a_hostile_comment_is_kept_as_text_and_no_longer_than_theirs(self, client: Api, comment: str) -> None:
        address = fresh_ip()

        report(client, address, comment=comment)

        assert [said["comment"] for said in check(client, address, verbose="")["reports"]] == [comment[:1024]]

    def test_a_report_is_in_the_audit_ledger(self, client: Api, api: Api) -> None:
        report(client, fresh_ip())

        newest = ok(api.get("/api/audit-log", params={"action": "create", "limit": 1}))[0]
        assert (newest["resource"], newest["details"]["received"]) == ("threats", 1)


class TestBulk:
    CSV = (
        "IP,Categories,ReportDate,Comment\n"
        '91.244.1.1,"18,22",2026-01-02T03:04:05Z,"a, ""b"""\n'
        "91.244.foo,18,2026-01-02T03:04:05Z,x\n"
        "91.244.1.1,14,2026-01-02T03:04:05Z,again\n"
        "91.244.1.2,99,2026-01-02T03:04:05Z,x\n"
        "91.244.1.3,14,long ago,x\n"
        "2a0e::1:1,14,,\n"
    )

    def test_good_rows_of_a_file_are_stored_and_the_others_named(self, client: Api, api: Api) -> None:
        said = data(client.post("/api/v2/bulk-report", files={"csv": ("report.csv", self.CSV, "text/csv")}))

        assert said == {
            "savedReports": 2,
            "invalidReports": [
                {"error": "Invalid IP", "input": "91.244.foo", "rowNumber": 3},
                {"error": "Duplicate IP", "input": "91.244.1.1", "rowNumber": 4},
                {"error": "Invalid Category", "input": "99", "rowNumber": 5},
                {"error": "Invalid Date", "input": "long ago", "rowNumber": 6},
            ],
        }
        assert api.detail("91.244.1.1")["firstSeen"] == "2026-01-02T03:04:05.000Z"
        assert check(client, "91.244.1.1", verbose="", maxAgeInDays=365)["reports"][0]["comment"] == 'a, "b"'
        assert api.detail("2a0e::1:1")["category"] == "scanner"

    def test_thousands_go_in_one_call(self, client: Api, api: Api) -> None:
        rows = "".join(f"91.245.{number // 250}.{number % 250 + 1},18,,\n" for number in range(1_000))

        said = data(client.post("/api/v2/bulk-report", files={"csv": f"IP,Categories,ReportDate,Comment\n{rows}"}))

        assert said == {"savedReports": 1_000, "invalidReports": []}
        assert api.detail("91.245.3.250")["sightings"] == 1

    @pytest.mark.parametrize("text", ["nonsense", "IP,Categories\n1.2.3.4,18\n", 'IP,Categories,ReportDate,Comment\n"'])
    def test_what_is_no_such_file_is_refused_or_has_no_good_row(self, client: Api, text: str) -> None:
        answer = client.post("/api/v2/bulk-report", files={"csv": text})

        assert answer.status_code == 422 or data(answer)["savedReports"] == 0

    def test_more_rows_than_theirs_are_refused(self, client: Api) -> None:
        text = "IP,Categories,ReportDate,Comment\n" + "91.244.2.1,18,,\n" * 10_001

        assert parameters(client.post("/api/v2/bulk-report", files={"csv": text})) == ["csv"]

    @pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--b\r\n\r\nx\r\n--b--\r\n", b"\xff\x00" * 100])
    def test_broken_forms_in_parts_are_refused(self, client: Api, body: bytes) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}

        assert client.post("/api/v2/bulk-report", content=body, headers=headers).status_code == 422


class TestCheck:
    FIELDS = (
        "ipAddress", "isPublic", "ipVersion", "isWhitelisted", "abuseConfidenceScore", "countryCode", "usageType",
        "isp", "domain", "hostnames", "isTor", "totalReports", "numDistinctUsers", "lastReportedAt",
    )  # fmt: skip

    def test_an_address_nobody_reported_has_every_field_and_the_score_0(self, client: Api) -> None:
        found = check(client, "91.246.1.1")

        assert tuple(found) == self.FIELDS
        assert (found["abuseConfidenceScore"], found["totalReports"], found["lastReportedAt"]) == (0, 0, None)
        assert (found["isPublic"], found["ipVersion"], found["isWhitelisted"]) == (True, 4, False)

    def test_reports_are_counted_with_who_made_them(self, server: LiveServer, client: Api) -> None:
        address = fresh_ip()
        for key in (OPERATOR, COMMUNITY[0], COMMUNITY[0]):
            report(server.client(None, {"Key": key}), address)
        report(client, address, timestamp="2020-01-01T00:00:00Z")

        found = check(client, address, maxAgeInDays=1)

        assert (found["totalReports"], found["numDistinctUsers"]) == (3, 2)
        assert found["lastReportedAt"].endswith("+00:00")

    def test_verbose_tells_the_reports_newest_first(self, client: Api, api: Api) -> None:
        address = fresh_ip()
        report(client, address, "14", comment="first", timestamp="2026-11-01T00:00:00Z")
        api.report(item(address, category="phishing"))

        found = check(client, address, verbose="", maxAgeInDays=365)

        assert tuple(found) == (*self.FIELDS, "countryName", "reports")
        assert [(said["comment"], said["categories"]) for said in found["reports"]] == [("", [7]), ("first", [14])]
        assert list(found["reports"][0]) == (
            ["reportedAt", "comment", "categories", "reporterId", "reporterCountryCode", "reporterCountryName"]
        )

    def test_comments_are_for_those_who_have_a_key(self, start: Start) -> None:
        server = start(TC_PUBLIC_READ="true")
        address = fresh_ip()
        report(server.client(None, {"Key": OPERATOR}), address, comment="root from 10.0.0.1")

        assert check(server.client(None), address, verbose="")["reports"] == []

    def test_a_withheld_address_is_whitelisted_and_scores_nothing(self, client: Api) -> None:
        report(client, "8.8.8.8")

        found = check(client, "8.8.8.8")

        assert (found["isWhitelisted"], found["abuseConfidenceScore"]) == (True, 0)

    def test_a_private_address_is_not_public(self, client: Api) -> None:
        assert check(client, "10.0.0.5")["isPublic"] is False

    def test_an_address_within_a_listed_network_scores_as_the_network(self, client: Api, api: Api) -> None:
        api.report(item("91.247.1.0/24"))

        assert check(client, "91.247.1.77")["abuseConfidenceScore"] == 100

    @pytest.mark.parametrize(
        ("params", "wrong"),
        [
            ({}, ["ipAddress"]),
            ({"ipAddress": "x"}, ["ipAddress"]),
            ({"ipAddress": "91.240.1.1", "maxAgeInDays": "0"}, ["maxAgeInDays"]),
            ({"ipAddress": "91.240.1.1", "maxAgeInDays": "366"}, ["maxAgeInDays"]),
        ],
    )
    def test_wrong_parameters_are_named(self, client: Api, params: dict[str, str], wrong: list[str]) -> None:
        assert parameters(client.get("/api/v2/check", params=params)) == wrong

    def test_parameters_that_say_nothing_here_are_passed_over(self, client: Api) -> None:
        assert check(client, "91.246.1.1", somethingNew="1")["totalReports"] == 0


class TestCheckBlock:
    def test_a_network_is_described_with_what_was_reported_in_it(self, client: Api) -> None:
        report(client, "91.248.1.7")
        report(client, "91.248.1.9", "10")

        found = data(client.get("/api/v2/check-block", params={"network": "91.248.1.0/24"}))

        assert found == {
            "networkAddress": "91.248.1.0",
            "netmask": "255.255.255.0",
            "minAddress": "91.248.1.1",
            "maxAddress": "91.248.1.254",
            "numPossibleHosts": 254,
            "addressSpaceDesc": "Internet",
            "reportedAddress": found["reportedAddress"],
        }
        assert [said["ipAddress"] for said in found["reportedAddress"]] == ["91.248.1.7", "91.248.1.9"]
        assert found["reportedAddress"][0].keys() == {
            "ipAddress", "numReports", "mostRecentReport", "abuseConfidenceScore", "countryCode",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("network", "hosts", "space"), [("127.0.0.0/24", 254, "Loopback"), ("91.248.2.1/32", 1, "Internet")]
    )
    def test_special_space_is_named(self, client: Api, network: str, hosts: int, space: str) -> None:
        found = data(client.get("/api/v2/check-block", params={"network": network}))

        assert (found["numPossibleHosts"], found["addressSpaceDesc"]) == (hosts, space)

    @pytest.mark.parametrize("network", ["x", "91.0.0.0/8", "::/0", "91.248.1.0/33", ""])
    def test_what_is_no_network_or_too_wide_is_refused(self, client: Api, network: str) -> None:
        assert parameters(client.get("/api/v2/check-block", params={"network": network})) == ["network"]


@pytest.fixture(scope="module")
def stocked(module_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A client with the least scope of a server that has these only."""
    server = serve_in(tmp_path_factory.mktemp("blacklist"), module_engine, {})
    api = server.client()
    api.report(item("91.240.1.1"), item("2a0e::5"), item("5.188.10.1"), item("91.241.0.0/24"))
    api.report(item("91.240.1.2", severity="low", confidence=0.8), item("8.8.8.8"), item("a.example", "domain"))
    assert within(3, lambda: len(api.blocked()) == 4)
    yield server.client(None, {"Key": FEEDS_ONLY})
    server.stop()


class TestBlacklist:
    def test_it_holds_the_addresses_of_the_blocklist(self, stocked: Api) -> None:
        answer = stocked.get("/api/v2/blacklist")

        assert answer.status_code == 200
        body = answer.json()
        assert body["meta"].keys() == {"generatedAt"}
        assert body["meta"]["generatedAt"] == answer.headers["x-generated-at"]
        assert {said["ipAddress"] for said in body["data"]} == {"91.240.1.1", "2a0e::5", "5.188.10.1"}
        assert all(said["abuseConfidenceScore"] == 100 for said in body["data"])
        assert body["data"][0].keys() == {"ipAddress", "countryCode", "abuseConfidenceScore", "lastReportedAt"}

    @pytest.mark.parametrize("by", ["header", "parameter"])
    def test_as_text_it_has_an_address_on_each_line(self, stocked: Api, by: str) -> None:
        headers, params = ({"Accept": "text/plain"}, {}) if by == "header" else ({}, {"plaintext": ""})
        answer = stocked.get("/api/v2/blacklist", params=params, headers=headers)

        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert sorted(answer.text.splitlines()) == ["2a0e::5", "5.188.10.1", "91.240.1.1"]

    @pytest.mark.parametrize(
        ("params", "wanted"),
        [
            ({"confidenceMinimum": "25"}, {"91.240.1.1", "91.240.1.2", "2a0e::5", "5.188.10.1"}),
            ({"limit": "1"}, {"91.240.1.1"}),
            ({"ipVersion": "6"}, {"2a0e::5"}),
            ({"ipVersion": "4"}, {"91.240.1.1", "5.188.10.1"}),
            ({"onlyCountries": "XA"}, set()),
            ({"exceptCountries": "xa"}, {"91.240.1.1", "2a0e::5", "5.188.10.1"}),
        ],
    )
    def test_it_can_be_narrowed(self, stocked: Api, params: dict[str, str], wanted: set[str]) -> None:
        found = stocked.get("/api/v2/blacklist", params=params).json()["data"]

        assert {said["ipAddress"] for said in found} == wanted

    def test_countries_are_those_it_tells(self, stocked: Api) -> None:
        whole = data(stocked.get("/api/v2/blacklist"))
        country = whole[0]["countryCode"]
        only = data(stocked.get("/api/v2/blacklist", params={"onlyCountries": country.lower()}))
        but = data(stocked.get("/api/v2/blacklist", params={"exceptCountries": country}))

        assert {said["countryCode"] for said in only} == {country}
        assert len(only) + len(but) == len(whole)

    @pytest.mark.parametrize(
        ("params", "wrong"),
        [
            ({"confidenceMinimum": "24"}, ["confidenceMinimum"]),
            ({"limit": "0"}, ["limit"]),
            ({"ipVersion": "5"}, ["ipVersion"]),
            ({"onlyCountries": "Germany"}, ["onlyCountries"]),
            ({"onlyCountries": "DE", "exceptCountries": "FR"}, ["exceptCountries"]),
        ],
    )
    def test_wrong_parameters_are_named(self, stocked: Api, params: dict[str, str], wrong: list[str]) -> None:
        assert parameters(stocked.get("/api/v2/blacklist", params=params)) == wrong


class TestKeysAndLimits:
    @pytest.mark.parametrize("where", ["header", "parameter", "bearer"])
    def test_the_key_may_stand_where_theirs_may(self, server: LiveServer, where: str) -> None:
        headers = {"header": {"Key": OPERATOR}, "bearer": {"Authorization": f"Bearer {OPERATOR}"}}.get(where, {})
        params = {"ipAddress": "91.240.1.1", **({"key": OPERATOR} if where == "parameter" else {})}

        assert server.client(None).get("/api/v2/check", params=params, headers=headers).status_code == 200

    @pytest.mark.parametrize(
        ("key", "status"), [(None, 401), ("unknown-0123456789abcdef", 401), ("", 401), (READER, 403), (FEEDS_ONLY, 403)]
    )
    def test_a_report_needs_a_key_that_may_write(self, server: LiveServer, key: str | None, status: int) -> None:
        headers = {} if key is None else {"Key": key}
        fields = {"ip": fresh_ip(), "categories": "18"}

        errors(server.client(None).post("/api/v2/report", data=fields, headers=headers), status)

    def test_a_key_that_may_only_write_cannot_check(self, server: LiveServer) -> None:
        errors(server.client(None, {"Key": WRITER}).get("/api/v2/check", params={"ipAddress": "91.240.1.1"}), 403)

    def test_a_report_needs_a_key_though_others_may_report_without(self, start: Start) -> None:
        server = start(ALLOW_ANONYMOUS_UPLOAD="true")

        errors(server.client(None).post("/api/v2/report", data={"ip": fresh_ip(), "categories": "18"}), 401)

    def test_a_key_of_their_header_is_none_elsewhere(self, server: LiveServer) -> None:
        assert server.client(None, {"Key": OPERATOR}).get("/api/stats").status_code == 401

    def test_what_is_left_of_the_limit_is_told_as_theirs(self, start: Start) -> None:
        client = start(TC_RATE_LIMIT_READ="2").client(None, {"Key": OPERATOR})
        answers = [client.get("/api/v2/check", params={"ipAddress": "91.240.1.1"}) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["x-ratelimit-limit"] for answer in answers] == ["2"] * 3
        assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
        assert 0 < int(answers[2].headers["x-ratelimit-reset"]) - time.time() <= 61
        assert int(answers[2].headers["retry-after"]) > 0
        errors(answers[2], 429)

    @pytest.mark.parametrize("media", ["text/plain", "application/xml"])
    def test_other_bodies_are_refused_in_their_words(self, client: Api, media: str) -> None:
        errors(client.post("/api/v2/report", content=b"x", headers={"Content-Type": media}), 415)

    def test_broken_json_is_refused_in_their_words(self, client: Api) -> None:
        headers = {"Content-Type": "application/json"}

        assert parameters(client.post("/api/v2/report", content=b"{", headers=headers)) == ["body"]

    def test_a_body_that_is_too_long_is_refused_in_their_words(self, client: Api) -> None:
        body = json.dumps({"ip": "91.240.1.1", "categories": "18", "comment": "x" * 1_100_000}).encode()

        errors(client.post("/api/v2/report", content=body, headers={"Content-Type": "application/json"}), 413)
