"""Real files of others: what is in each was counted by hand and by other means (grep, a count of JSON members)."""

from collections import Counter
from pathlib import Path

import pytest

from threatcloud.domain.indicator import IndicatorType, InvalidIndicator, canonical, detect
from threatcloud.formats.readers import NO_COLUMNS, Reject, Row, detected, open_source

INTEROP = Path(__file__).parents[3].parent / "shared" / "data" / "interop"

#: The file, its format, how many of each type, and how many rejects and values that are none (both 0 if not said).
FILES = (
    # Whoever republished it cut three hashes short.
    ("abusech/threatfeed_defanged.json", "json", "domain 25, invalid 3, ip 7, url 5"),
    ("abusech/threatfox_recent_layout.csv", "threatfox", "domain 434, ip 546, url 250"),
    ("abusech/urlhaus_online.csv", "urlhaus", "url 8999"),
    ("crowdsec/alert_bulk.json", "crowdsec", "ip 20"),
    ("crowdsec/alert_ssh-bf.json", "crowdsec", "ip 1"),
    ("crowdsec/alert_stream_fixture.json", "crowdsec", "ip 3"),
    ("crowdsec/decisions.csv", "crowdsec", "ip 5"),
    ("crowdsec/decisions.json", "crowdsec", "ip 5"),
    ("csv/C2IntelFeeds_IPC2s-30day.csv", "delimited", "ip 1318"),
    ("csv/honeypot_blocklist.json", "json", "ip 152"),
    ("csv/honeypot_blocklist_misp.csv", "delimited", "ip 152"),
    ("csv/infoblox_hazy_hawk_defanged.csv", "delimited", "domain 186"),
    ("csv/mstic_RapidRelease.csv", "delimited", "domain 168, hash 57, ip 3, reject 8, url 1"),
    ("csv/sophos_Qilin.csv", "delimited", "domain 1, hash 6, ip 5, reject 4, url 2"),
    ("csv/volexity_ivanti.csv", "delimited", "domain 3, ip 13"),
    ("ecs/elastic_blister_ecs.ndjson", "ecs", "hash 246"),
    ("freetext/eset_ramsay.adoc", "text", "cve 1, hash 17"),
    ("freetext/executemalware_remcos.txt", "text", "domain 1, email 1, hash 7, ip 1, url 4"),
    ("freetext/unit42_btmob.txt", "text", "domain 1, hash 59, ip 12"),
    ("intelmq_feeds/bambenek_c2-ipmasterlist.txt", "delimited", "ip 1"),
    # The name of a network with bars in it moves the columns of one of three lines.
    ("intelmq_feeds/dataplane_sshpwauth.txt", "delimited", "invalid 1, ip 2"),
    ("intelmq_feeds/dshield_block.txt", "dshield", "ip 2"),
    ("intelmq_feeds/html_table_feodotracker.html", "html", "ip 2"),
    ("intelmq_feeds/misp_misp_event.json", "misp", "url 1"),
    ("intelmq_feeds/spamhaus_asndrop.txt", "spamhaus", ""),
    ("intelmq_feeds/spamhaus_drop.txt", "spamhaus", "ip 2"),
    ("misp/eset_bespin.json", "misp", "hash 1"),
    ("misp/eset_misp-ramsay.json", "misp", "cve 2, hash 51"),
    ("misp/eset_misp-turla-comrat-v4-event.json", "misp", "domain 27, hash 4"),
    ("misp/eset_misp.event_2021-06-10_backdoordiplomacy.json", "misp", "hash 66"),
    ("misp/gosecure_chaos.json", "misp", "hash 20"),
    ("misp/infoblox_1d1ff717-426f-40f7-b9e2-dfbc2345cdde.json", "misp", "domain 4244"),
    ("misp/infoblox_6c1c6c4f-5cde-474f-bb69-8e5b8b041f81.json", "misp", "domain 7, hash 5, ip 5"),
    ("misp/infoblox_d83c5966-efe8-45c2-92e4-e9eb1b9fb8fd.json", "misp", "domain 22"),
    ("misp/infoblox_f02183b6-33a0-4a69-bc22-7a0d5b034ab6.json", "misp", "domain 15"),
    ("misp_feed/06159a36-6012-5d68-bff5-7fac1110a2a6.json", "misp", "domain 32, hash 32, ip 25, url 55"),
    ("misp_feed/67317f07-5461-555f-9491-d7685196f614.json", "misp", "domain 28, hash 1, ip 1, url 29"),
    ("misp_feed/b34e0bcb-0adc-500b-a611-1e801c6d0698.json", "misp", "domain 51, hash 9, ip 20, url 61"),
    ("misp_feed/ba5bae2f-de28-5149-a1c6-2b89b55c9b51.json", "misp", "domain 87, hash 19, ip 63, url 130"),
    ("misp_feed/c4a04a92-3722-5f53-8c25-9b3742fc79c4.json", "misp", "domain 134, hash 15, ip 10, url 135"),
    ("misp_feed/cbaa3579-deb7-524b-accb-765151c0ce58.json", "misp", "domain 204, hash 22, ip 23, url 216"),
    ("misp_feed/ec185261-dda2-5256-bf1a-f93d913192fa.json", "misp", "domain 56, hash 18, ip 25, url 73"),
    # Digests of values and an index: neither is an indicator, whatever it looks like.
    ("misp_feed/hashes.csv", "misp", ""),
    ("misp_feed/manifest.json", "misp", ""),
    ("stix20/talos_chaos-msarat.json", "stix", "domain 1, ip 1"),
    ("stix20/talos_commodity_badiis.json", "stix", "hash 151, url 7"),
    ("stix20/talos_dissecting-the-jwr-phishing-framework.json", "stix", "domain 387, hash 4, ip 4, url 27"),
    ("stix20/talos_uat-7810.json", "stix", "cve 4, hash 77, ip 4, url 9"),
    ("stix20/unit42_2025-04-04-KongTuke-activity.json", "stix", "domain 4, url 8"),
    ("stix20/unit42_2025-05-13-AdaptixC2-activity.json", "stix", "domain 1, hash 3, url 1"),
    ("stix20/unit42_IcedID_playbook.json", "stix", "domain 26, hash 145, ip 33, url 2"),
    ("stix21/amnesty_cytrox.stix2.json", "stix", "domain 336"),
    ("stix21/amnesty_pegasus.stix2.json", "stix", "domain 1438, email 29"),
    ("stix21/elastic_blister.json", "stix", "hash 246"),
    ("stix21/elastic_ghostengine.json", "stix", "domain 3, hash 36, ip 2"),
    ("stix21/elastic_lobshot.json", "stix", "hash 1494, ip 31"),
    ("stix21/elastic_pikabot.json", "stix", "domain 2, hash 4, ip 9"),
    ("stix21/elastic_ref6138.json", "stix", "domain 3, hash 59, ip 6, url 9"),
    ("stix21/mvt_darksword.stix2.json", "stix", "domain 10, hash 1, ip 3"),
    ("stix21/mvt_operation_triangulation.stix2.json", "stix", "domain 75, email 36"),
    ("stix21/oasis_apt1.json", "stix", "domain 3, hash 3, ip 4"),
    ("stix21/oasis_defining-campaigns-threat-actors-intrusion-sets.json", "stix", ""),
    ("stix21/oasis_indicator-for-malicious-url.json", "stix", "url 1"),
    ("stix21/oasis_malware-indicator-for-file-hash.json", "stix", "hash 1"),
    # One of its domains has a blank in it.
    ("stix21/oasis_poisonivy.json", "stix", "cve 6, domain 24, invalid 1, ip 40"),
    ("stix21/oasis_sighting-of-an-indicator.json", "stix", "url 1"),
    ("stix21/oasis_sighting-of-observed-data.json", "stix", ""),
    ("stix21/oasis_threat-actor-leveraging-attack-patterns-and-malware.json", "stix", ""),
    ("stix21/oasis_using-granular-markings.json", "stix", ""),
    ("stix21/oasis_using-marking-definitions.json", "stix", "ip 1"),
    ("stix21/tweetfeed_manifest.json", "jsonl", "reject 1"),
    ("stix21/tweetfeed_today.json", "stix", "domain 28, hash 1, ip 1, url 29"),
    ("stix21/tweetfeed_week.json", "stix", "domain 575, hash 116, ip 162, url 683"),
    ("taxii21/manifest/2026-08-21.0.json", "json", "reject 161"),
    ("taxii21/manifest/2026-08-22.0.json", "json", "reject 50"),
    ("taxii21/manifest/meta.json", "json", "reject 2"),
    ("taxii21/oasis_medallion_default_data.json", "stix", "hash 1, url 3"),
    ("taxii21/pages/2026-08-09.2.json", "stix", "hash 1"),
    ("taxii21/pages/2026-08-21.0.json", "stix", "domain 51, hash 18, ip 23, url 69"),
    ("taxii21/pages/2026-08-22.0.json", "stix", "domain 23, hash 1, ip 1, url 25"),
    ("taxii21/pages/meta.json", "stix", ""),
    ("zeek/cobaltstrike_ips.intel", "zeek", "ip 2087"),
)


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "format_name", "expected"), FILES)
def test_what_is_in_a_real_file(name: str, format_name: str, expected: str) -> None:
    path = INTEROP / name
    if not path.exists():
        pytest.skip(f"the public threat data is not there: {name}")
    found: Counter[str] = Counter()
    with open_source(path) as source:
        reader = detected(source.head())
        for item in reader.read(source, NO_COLUMNS):
            if isinstance(item, Row):
                found[kind_of(item)] += 1
            elif isinstance(item, Reject):
                found["reject"] += 1
    assert reader.name == format_name
    assert ", ".join(f"{kind} {count}" for kind, count in sorted(found.items())) == expected


def kind_of(row: Row) -> str:
    try:
        return (canonical(IndicatorType(row.type), row.value) if row.type else detect(row.value)).type.value
    except InvalidIndicator:
        return "invalid"


@pytest.mark.real_data
def test_no_real_file_is_left_out() -> None:
    if not INTEROP.exists():
        pytest.skip("the public threat data is not there")
    there = {str(path.relative_to(INTEROP)) for path in INTEROP.rglob("*") if path.is_file()}
    assert there - {"MANIFEST.json"} == {name for name, _, _ in FILES}
