"""Each format with a small text of its own, counted by hand: rows and their fields, rejects, what is passed over."""

import io
import json
from collections import Counter
from typing import Any

import pytest

from threatcloud.formats.readers import NO_COLUMNS, ColumnError, Passed, Reject, Row, Source, detected, reader

MD5, SHA1, SHA256 = "a" * 32, "b" * 40, "c" * 64


class Read:
    """What a text holds, in the format that it looks like."""

    def __init__(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        with Source("text", io.BytesIO(data)) as source:
            found_out = detected(source.head())
            self.name = found_out.name
            self.found = list(found_out.read(source, NO_COLUMNS))
        self.rows = [found for found in self.found if isinstance(found, Row)]
        self.rejects = [(found.line, found.field) for found in self.found if isinstance(found, Reject)]
        self.passed: Counter[str] = Counter()
        for found in self.found:
            if isinstance(found, Passed):
                self.passed[found.what] += found.times

    @property
    def values(self) -> list[tuple[str, str | None]]:
        return [(row.value, row.type) for row in self.rows]

    def fields(self, at: int = 0) -> dict[str, Any]:
        return dict(self.rows[at].fields or {})

    def metadata(self, at: int = 0) -> dict[str, Any]:
        found = self.fields(at).get("metadata", {})
        assert isinstance(found, dict)
        return found


def misp(attributes: list[dict[str, Any]], **event: Any) -> str:
    return json.dumps({"Event": {"Attribute": attributes, "info": "A campaign", "uuid": "u-1", **event}})


def test_a_misp_event_and_what_it_says_after_its_attributes() -> None:
    text = misp(
        [
            {"type": "ip-dst|port", "value": "192.0.2.1|8080", "to_ids": True, "timestamp": "1700000000"},
            {"type": "domain", "value": "a.example", "to_ids": False, "comment": "seen once"},
            {"type": "filename|sha256", "value": f"x.exe|{SHA256}", "to_ids": True},
            {"type": "link", "value": "https://blog.example/post"},
            {"type": "yara", "value": "rule x {}"},
            {"type": "md5", "value": MD5, "deleted": True},
            {"type": "url"},
        ],
        Object=[{"name": "file", "Attribute": [{"type": "sha1", "value": SHA1, "to_ids": True}]}],
        Tag=[
            {"name": "tlp:amber"},
            {"name": "phishing"},
            {"name": 'misp-galaxy:malpedia="Example"'},
            {"name": 'misp-galaxy:mitre-attack-pattern="Phishing - T1566"'},
        ],
        threat_level_id="1",
    )
    read = Read(text)
    assert read.name == "misp"
    assert read.values == [("192.0.2.1", "ip"), ("a.example", "domain"), (SHA256, "hash"), (SHA1, "hash")]
    assert read.rejects == [(1, "value")]
    assert read.passed == {
        "attribute link": 1,
        "attribute yara": 1,
        "deleted attribute": 1,
        "file name beside a hash": 1,
    }
    fields = read.fields()
    assert (fields["category"], fields["severity"], fields["tlp"]) == ("phishing", "high", "amber")
    assert fields["timestamp"] == "2023-11-14T22:13:20.000Z"
    metadata = read.metadata()
    assert metadata["ports"] == [8080]
    assert metadata["malwareFamily"] == "Example"
    assert metadata["mitreIds"] == ["T1566"]
    assert metadata["references"] == ["https://blog.example/post"]
    assert metadata["ref"] == "u-1"
    assert read.fields(1)["severity"] == "low"
    assert read.metadata(1)["description"] == "seen once"


def test_several_misp_events_each_with_its_own() -> None:
    one, two = (json.loads(misp([{"type": "domain", "value": f"{name}.example"}], uuid=name)) for name in ("a", "b"))
    read = Read(json.dumps({"response": [one, two]}))
    assert read.values == [("a.example", "domain"), ("b.example", "domain")]
    assert [read.metadata(at)["ref"] for at in (0, 1)] == ["a", "b"]


def test_the_manifest_and_the_cache_of_a_misp_feed_hold_no_indicator() -> None:
    manifest = {"u-1": {"info": "A", "Orgc": {"name": "O"}, "threat_level_id": "4", "timestamp": "1"}}
    assert Read(json.dumps(manifest)).passed == {"event of a feed, which is in a file of its own": 1}
    cache = Read(f"{MD5},06159a36-6012-5d68-bff5-7fac1110a2a6\n")
    assert (cache.name, cache.rows) == ("misp", [])


THREATFOX_CSV = """# ThreatFox
# "first_seen_utc","ioc_id","ioc_value","ioc_type","threat_type","malware_printable","confidence_level","reference",tags
"2026-03-07 08:15:00", "7", "192.0.2.7:4444", "ip:port", "botnet_cc", "ExampleRAT", "75", "https://x.example/1", "a,b"
"2026-03-07 08:15:00", "8", "thing", "ja3", "botnet_cc", "ExampleRAT", "75", "None", ""
"broken
"""


def test_threatfox_as_a_table() -> None:
    read = Read(THREATFOX_CSV)
    assert read.name == "threatfox"
    assert read.values == [("192.0.2.7:4444", "ip")]
    assert read.rejects == [(4, "type"), (5, "line")]
    assert read.fields() == {
        "category": "c2",
        "confidence": 0.75,
        "timestamp": "2026-03-07 08:15:00",
        "metadata": {
            "malwareFamily": "ExampleRAT",
            "threatfoxId": "7",
            "ports": [4444],
            "tags": ["a", "b"],
            "references": ["https://x.example/1"],
        },
    }


def test_threatfox_as_json() -> None:
    item = {"ioc_value": "a.example", "ioc_type": "domain", "threat_type": "payload_delivery", "confidence_level": 50}
    for document in ({"7": [item]}, {"query_status": "ok", "data": [{**item, "new_one": 1}]}):
        read = Read(json.dumps(document))
        assert (read.name, read.values) == ("threatfox", [("a.example", "domain")])
        assert (read.fields()["category"], read.fields()["confidence"]) == ("malware", 0.5)
    assert read.passed == {"field new_one": 1}


def test_urlhaus() -> None:
    table = (
        "# URLhaus\n# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n"
        '"1","2026-03-07 08:15:00","http://a.example/x,y","online","2026-03-07","malware_download","elf,Mozi",'
        '"https://u.example/1/","who"\n'
    )
    item = {"dateadded": "2026-03-07 08:15:00 UTC", "url": "http://a.example/x", "url_status": "online", "threat": "x"}
    for text, url in ((table, "http://a.example/x,y"), (json.dumps({"1": [item]}), "http://a.example/x")):
        read = Read(text)
        assert (read.name, read.values) == ("urlhaus", [(url, "url")])
        assert read.fields()["timestamp"] == "2026-03-07 08:15:00"
    assert Read(table).metadata()["tags"] == ["elf", "Mozi"]
    assert Read(table).fields()["category"] == "malware"


def test_feodo() -> None:
    table = (
        "# Feodo\nfirst_seen_utc,dst_ip,dst_port,c2_status,last_online,malware\n2026-03-07,192.0.2.9,443,online,,Emo\n"
    )
    item = {"ip_address": "192.0.2.9", "port": 443, "status": "online", "as_number": 64496, "country": "NL"}
    item |= {"first_seen": "2026-03-07 08:15:00", "last_online": "2026-03-07", "malware": "Emo", "as_name": "EX"}
    for text in (table, json.dumps([item])):
        read = Read(text)
        assert (read.name, read.values) == ("feodo", [("192.0.2.9", "ip")])
        assert read.fields()["category"] == "c2"
        assert read.metadata()["ports"] == [443]
        assert read.metadata()["malwareFamily"] == "Emo"
        assert not read.passed
    assert (read.metadata()["asn"], read.metadata()["country"]) == ("AS64496", "NL")


def test_malwarebazaar_gives_each_hash_of_a_file() -> None:
    item = {"sha256_hash": SHA256, "sha1_hash": SHA1, "md5_hash": MD5, "reporter": "who", "signature": "Emo"}
    table = f'# "first_seen_utc","sha256_hash","md5_hash","sha1_hash","reporter","signature"\n"x", "{SHA256}", "{MD5}", "{SHA1}", "who", "n/a"\n'  # noqa: E501
    for text in (json.dumps({"query_status": "ok", "data": [item]}), table):
        read = Read(text)
        assert (read.name, read.values) == ("malwarebazaar", [(SHA256, "hash"), (SHA1, "hash"), (MD5, "hash")])


def test_abuseipdb() -> None:
    text = {
        "meta": {"generatedAt": "2026-03-07T08:15:00+00:00"},
        "data": [
            {"ipAddress": "192.0.2.1", "countryCode": "NL", "abuseConfidenceScore": 90, "lastReportedAt": "2026-03-07"}
        ],
    }
    read = Read(json.dumps(text))
    assert (read.name, read.values) == ("abuseipdb", [("192.0.2.1", "ip")])
    assert read.fields() == {"confidence": 0.9, "timestamp": "2026-03-07", "metadata": {"country": "NL"}}


def test_crowdsec_decisions() -> None:
    decision = {
        "scope": "Ip",
        "value": "192.0.2.1",
        "duration": "4h",
        "origin": "cscli",
        "scenario": "crowdsecurity/ssh-bf",
    }
    country = {**decision, "scope": "Country", "value": "NL"}
    for document in ([decision, country], {"new": [decision, country], "deleted": None}):
        read = Read(json.dumps(document))
        assert (read.name, read.values) == ("crowdsec", [("192.0.2.1", "ip")])
        assert read.passed == {"crowdsec Country": 1}
        assert read.fields()["category"] == "bruteforce"
        assert read.metadata()["duration"] == "4h"


def test_a_crowdsec_alert_is_an_observation_of_its_source() -> None:
    alert: dict[str, Any] = {
        "scenario": "crowdsecurity/http-cve-probing",
        "source": {"scope": "Ip", "value": "192.0.2.1", "cn": "NL", "as_number": "64496"},
        "events_count": 7,
        "stop_at": "2026-03-07T08:15:00Z",
        "decisions": [{"duration": "4h", "type": "ban", "scope": "Ip", "value": "192.0.2.1"}],
    }
    read = Read(json.dumps([alert, {**alert, "simulated": True}, {**alert, "source": {}}]))
    assert (read.name, read.values) == ("crowdsec", [("192.0.2.1", "ip")])
    assert read.passed == {"simulated alert": 1}
    assert read.rejects == [(1, "value")]
    assert (read.fields()["category"], read.fields()["timestamp"]) == ("exploit", "2026-03-07T08:15:00Z")
    assert (read.metadata()["attempts"], read.metadata()["asn"]) == (7, "AS64496")


def test_otx() -> None:
    pulse = {
        "indicators": [
            {"indicator": "a.example", "type": "hostname", "created": "2026-03-07T08:15:00"},
            {"indicator": SHA1, "type": "FileHash-SHA1", "is_active": 0},
            {"indicator": "x", "type": "Mutex"},
            {"type": "domain"},
        ],
        "name": "Ransomware",
        "TLP": "white",
        "malware_families": [{"display_name": "Example", "id": "Example"}],
        "attack_ids": ["T1486"],
        "references": ["https://blog.example/1"],
        "id": "p-1",
    }
    for document in (pulse, {"results": [pulse]}, [pulse]):
        read = Read(json.dumps(document))
        assert (read.name, read.values) == ("otx", [("a.example", "domain")])
        assert read.passed == {"OTX Mutex": 1, "indicator that is not active any more": 1}
        assert read.rejects == [(1, "value")]
        assert (read.fields()["category"], read.fields()["tlp"]) == ("malware", "clear")
        assert read.metadata()["mitreIds"] == ["T1486"]
        assert (read.metadata()["ref"], read.metadata()["malwareFamily"]) == ("p-1", "Example")


OPENIOC = """<?xml version="1.0" encoding="utf-8"?>
<ioc xmlns="http://schemas.mandiant.com/2010/ioc" id="i-1"><short_description>Trojan</short_description>
<keywords>one two</keywords><authored_by>who</authored_by><authored_date>2026-03-07T08:15:00</authored_date>
<definition><Indicator operator="OR">
<IndicatorItem condition="is"><Context document="FileItem" search="FileItem/Md5sum"/><Content type="md5">{md5}</Content>
</IndicatorItem>
<IndicatorItem condition="contains"><Context search="Network/DNS"/><Content type="string">a.example</Content>
</IndicatorItem>
<IndicatorItem condition="contains"><Context search="FileItem/FileName"/><Content type="string">x.exe</Content>
</IndicatorItem>
<IndicatorItem condition="is" negate="true"><Context search="PortItem/remoteIP"/><Content type="IP">192.0.2.1</Content>
</IndicatorItem></Indicator></definition></ioc>""".replace("{md5}", MD5)


def test_openioc() -> None:
    read = Read(OPENIOC)
    assert (read.name, read.values) == ("openioc", [(MD5, "hash"), ("a.example", "domain")])
    assert read.passed == {"OpenIOC FileItem/FileName": 1, "OpenIOC condition not is": 1}
    assert read.fields()["category"] == "malware"
    assert read.metadata()["tags"] == ["one", "two"]
    assert read.metadata()["ref"] == "i-1"


@pytest.mark.parametrize("encoding", ["utf-nothing", "gb2312"])
def test_openioc_in_an_encoding_that_is_not_read_is_rejected(encoding: str) -> None:
    read = Read(f'<?xml version="1.0" encoding="{encoding}"?><ioc id="x"></ioc>')
    assert (read.name, read.rejects) == ("openioc", [(1, "line")])


def test_openioc_1_1_has_another_root() -> None:
    text = OPENIOC.replace("<ioc ", "<OpenIOC ").replace("</ioc>", "</OpenIOC>")
    assert Read(text).values == [(MD5, "hash"), ("a.example", "domain")]


def test_entities_that_grow_end_the_reading_of_xml() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    read = Read(OPENIOC.replace("<ioc ", f"{bomb}<ioc ", 1))
    assert (read.rows, read.rejects) == ([], [(2 - 1 + 1, "line")])


def test_broken_xml_gives_what_came_before() -> None:
    read = Read(OPENIOC.replace('<IndicatorItem condition="contains"><Context search="FileItem', "<<"))
    assert read.values == [(MD5, "hash"), ("a.example", "domain")]
    assert read.rejects == [(9, "line")]


def test_ecs() -> None:
    nested = {"threat": {"indicator": {"type": "file", "file": {"hash": {"md5": [MD5], "sha1": SHA1}}}}}
    dotted = {"threat.indicator.ip": "192.0.2.1", "threat.indicator.marking.tlp": "GREEN", "tags": ["c2"]}
    url = {"threat": {"indicator": {"url": {"full": "http://a.example/x", "domain": "a.example"}}}}
    read = Read("\n".join(map(json.dumps, (nested, dotted, url, {"threat": {"indicator": {}}}))))
    assert read.name == "ecs"
    assert read.values == [(SHA1, "hash"), (MD5, "hash"), ("192.0.2.1", "ip"), ("http://a.example/x", "url")]
    assert (read.fields(2)["tlp"], read.fields(2)["category"]) == ("green", "c2")
    assert read.rejects == [(4, "value")]


def test_zeek() -> None:
    read = Read(
        "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\tmeta.url\tmeta.mine\n"
        "192.0.2.1\tIntel::ADDR\tsrc\tCobalt Strike\thttps://x.example/\t-\n"
        "a.example/x\\x2cy\tIntel::URL\tsrc\t-\t-\t-\n"
        "x.exe\tIntel::FILE_NAME\tsrc\t-\t-\t-\n"
        "spaces instead\n"
    )
    assert (read.name, read.values) == ("zeek", [("192.0.2.1", "ip"), ("http://a.example/x,y", "url")])
    assert read.passed == {"Zeek Intel::FILE_NAME": 1, "column meta.mine": 1}
    assert read.rejects == [(5, "value")]
    assert read.fields()["category"] == "c2"
    assert read.metadata()["references"] == ["https://x.example/"]


def test_suricata_reputation() -> None:
    read = Read("192.0.2.1,2,127\n198.51.100.0/24,3,64\n192.0.2.3,2,0\n")
    assert (read.name, read.values) == ("suricata-iprep", [("192.0.2.1", "ip"), ("198.51.100.0/24", "ip")])
    assert read.fields() == {"confidence": 1.0, "metadata": {"tags": ["iprep:2"]}}
    assert read.passed == {"address with the reputation 0": 1}


def test_a_line_of_a_suricata_dataset_that_is_not_ascii_is_rejected() -> None:
    with Source("text", io.BytesIO("YS5leGFtcGxl\né\n".encode())) as source:
        found = list(reader("suricata-dataset").read(source, NO_COLUMNS))
    assert [item.line for item in found if isinstance(item, Reject)] == [2]


def test_suricata_dataset() -> None:
    assert Read("YS5leGFtcGxl\nYi5leGFtcGxl,30\n").values == [("a.example", None), ("b.example", None)]


def test_suricata_alerts() -> None:
    alert: dict[str, Any] = {
        "event_type": "alert",
        "timestamp": "2026-03-07T08:15:00.0+0000",
        "src_ip": "10.0.0.1",
        "dest_ip": "8.8.4.4",
    }
    alert |= {
        "dest_ip": "8.8.4.4",
        "dest_port": 443,
        "proto": "TCP",
        "alert": {"severity": 1, "signature": "ET SCAN x", "category": "y"},
    }
    flow = {"event_type": "flow", "src_ip": "10.0.0.1"}
    read = Read("\n".join(map(json.dumps, (alert, flow, {**alert, "src_ip": "1.1.1.1"}))))
    assert (read.name, read.values) == ("suricata-eve", [("8.8.4.4", "ip"), ("1.1.1.1", "ip")])
    assert (read.fields()["severity"], read.fields()["category"]) == ("high", "scanner")
    assert read.passed == {"event flow": 1}


def test_spamhaus() -> None:
    text = Read("; Spamhaus DROP\n192.0.2.0/24 ; SBL1\nAS64496 ; NL | X\n2001:db8::/29 ; SBL2\n")
    lines = Read('{"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"x"}\n{"type":"metadata","size":1}\n')
    assert (text.name, lines.name) == ("spamhaus", "spamhaus")
    assert text.values == [("192.0.2.0/24", "ip"), ("2001:db8::/29", "ip")]
    assert lines.values == [("192.0.2.0/24", "ip")]
    assert text.passed == {"number of a network (AS)": 1}
    assert text.metadata() == {"sblId": "SBL1", "tags": ["spamhaus-drop"]}


def test_dshield() -> None:
    read = Read("# DShield\nStart\tEnd\tNetmask\tAttacks\n192.0.2.0\t192.0.2.255\t24\t788\tExample\tNL\tx@y.example\n")
    assert (read.name, read.values) == ("dshield", [("192.0.2.0/24", "ip")])
    assert read.metadata()["attempts"] == 788
    assert "x@y.example" not in str(read.rows)


def test_another_json_document_is_a_table() -> None:
    document = {
        "meta": {"name": "x", "notes": ["a"]},
        "ips": [{"ip": "192.0.2.1", "attempts": 7, "tier": "x"}, {"z": 1}],
    }
    read = Read(json.dumps(document, indent=1))
    assert (read.name, read.values) == ("json", [("192.0.2.1", "ip")])
    assert read.metadata() == {"attempts": 7}
    assert read.passed == {"field tier": 1, "item of a list that is no object": 1}
    assert [field for _, field in read.rejects] == ["value"]
    assert Read('["192.0.2.1",\n"a.example"]').values == [("192.0.2.1", None), ("a.example", None)]


@pytest.mark.parametrize("name", ["stix", "misp", "zeek", "text", "threatfox"])
def test_columns_are_for_tables(name: str) -> None:
    with Source("x", io.BytesIO(b"")) as source, pytest.raises(ColumnError, match=f"the format {name} has no columns"):
        reader(name).read(source, {"value": "x"})
