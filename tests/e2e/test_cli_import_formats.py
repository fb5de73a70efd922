"""Documents and reports on the command line: found out, tried, looked through, and imported."""

import json
from pathlib import Path

from tests.e2e.conftest import Place
from tests.formats.readers.test_stix import bundle, indicator
from tests.formats.readers.test_vendors import SHA256, misp

REPORT = f"""Ransomware seen in the wild
Read https://blog.example.com/post first. The loader came from hxxps://bad[.]example-site[.]com/x.zip and
spoke to 46.2.2.2, which is 46[.]2[.]2[.]3 behind a proxy. Version 1.2.3.4 of it is SHA-256 {SHA256}.
"""


def test_a_dry_run_tells_all_and_stores_nothing(served: Place) -> None:
    place = served
    text = bundle(
        indicator("[ipv4-addr:value = '46.3.0.1']"), indicator("[file:name = 'x']", 2), indicator("[ipv4-addr:value", 3)
    )
    name = place.write("bundle.json", text)
    before = place.rows()
    done = place.json("import", name, "--source", "feed:vendor", "--format", "auto", "--dry-run")
    assert (done["format"], done["values"], done["dryRun"]) == ("stix", 1, True)
    assert done["passedOver"] == {"pattern of file:name": 1}
    assert sum(done["rejected"].values()) == 1
    assert place.rows() == before

    done = place.json("import", name, "--source", "feed:vendor")
    assert (done["values"], done["new"], done["dryRun"]) == (1, 1, False)
    assert place.rows() == before + 1


def test_a_directory_of_a_misp_feed_is_the_events_in_it(served: Place) -> None:
    place = served
    folder = place.folder / "feed"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"a": {"info": "A", "Orgc": {"name": "O"}}}))
    for name, address in (("a", "46.4.0.1"), ("b", "46.4.0.2")):
        (folder / f"{name}.json").write_text(misp([{"type": "ip-src", "value": address}]))
    ran = place.call("import", "feed", "--source", "feed:misp")
    assert ran.stdout.count(b" as misp, 1 values") == 2
    other = place.folder / "no-feed"
    other.mkdir()
    failed = place.call("import", "no-feed", "--source", "feed:misp", code=1)
    assert b"without the manifest.json of a MISP feed" in failed.stderr


def test_a_report_is_shown_before_anything_is_stored(served: Place) -> None:
    place = served
    name = place.write("report.txt", REPORT)
    before = place.rows()
    ran = place.call("import", name, "--source", "feed:blog", "--review")
    shown = ran.stdout.decode()
    assert "46.2.2.3" in shown
    assert "https://bad.example-site.com/x.zip" in shown
    assert SHA256 in shown
    left_out = shown[shown.index("left out") :]
    assert "https://blog.example.com/post" in left_out
    assert "46.2.2.2" in left_out
    assert b"nothing is stored" in ran.stderr
    assert place.rows() == before


def test_a_pdf_is_read_page_by_page(served: Place) -> None:
    place = served
    place.folder.joinpath("report.pdf").write_bytes(pdf("Beacons to 46[.]5[.]0[.]1 and evil[.]example-site[.]com"))
    done = place.json("import", "report.pdf", "--source", "feed:blog")
    assert (done["format"], done["values"]) == ("pdf", 2)


def pdf(text: str) -> bytes:
    """The least there is to a page with a line on it."""
    content = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    made, places = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj%b endobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(made))
    return made + b"xref\n0 %d\n0000000000 65535 f \n%b%b" % (len(objects) + 1, table, trailer)


def test_history_and_logs_are_not_reviewed(place: Place) -> None:
    Path(place.folder, "x.json").write_text("{}")
    failed = place.call("import", "x.json", "--format", "cowrie", "--source", "honeypot:a", "--review", code=2)
    assert b"--review" in failed.stderr
