"""Formats that can be imported, one module each; a new one is a module and a line in `READERS`.

```python
with open_source(path) as source:          # or Source(name, file) of any binary file
    format_ = reader(name) if name else detected(source.head())
    for found in format_.read(source, NO_COLUMNS):   # Row | Reject | Passed, in the order of the input
        ...
```
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from threatcloud.formats.readers import (
    abusech,
    abuseipdb,
    crowdsec,
    delimited,
    dshield,
    ecs,
    json_table,
    jsonlines,
    misp,
    openioc,
    otx,
    plain,
    report,
    spamhaus,
    stix,
    suricata,
    zeek,
)
from threatcloud.formats.readers.found import (
    MAX_LINE_BYTES,
    NO_COLUMNS,
    ColumnError,
    Columns,
    Fields,
    Found,
    Line,
    Passed,
    Reject,
    Row,
    SourceError,
)
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.source import Source, open_source

__all__ = [
    "MAX_LINE_BYTES",
    "NO_COLUMNS",
    "READERS",
    "ColumnError",
    "Columns",
    "Fields",
    "Found",
    "Head",
    "Line",
    "Passed",
    "Reader",
    "Reject",
    "Row",
    "Source",
    "SourceError",
    "detected",
    "open_source",
    "reader",
]


@dataclass(frozen=True, slots=True)
class Reader:
    """A format. `fits(head)` tells whether an input that begins so looks like it; `read(source, columns)` gives what
    is in one, and raises `ColumnError` for a choice of columns it does not have, and `SourceError`, after all before
    it, where the input cannot be read on."""

    name: str
    description: str
    fits: Callable[[Head], bool]
    read: Callable[[Source, Columns], Iterator[Found]]


READERS = (
    Reader("stix", "a bundle of STIX 2.0 or 2.1, or a page of a TAXII collection", stix.fits, stix.read),
    Reader("misp", "an event of MISP, several, or a file of a MISP feed", misp.fits, misp.read),
    Reader("threatfox", "ThreatFox of abuse.ch, CSV or JSON", abusech.fits_threatfox, abusech.THREATFOX.read),
    Reader("urlhaus", "URLhaus of abuse.ch, CSV or JSON", abusech.fits_urlhaus, abusech.URLHAUS.read),
    Reader("feodo", "Feodo Tracker of abuse.ch, CSV or JSON", abusech.fits_feodo, abusech.FEODO.read),
    Reader(
        "malwarebazaar",
        "MalwareBazaar of abuse.ch, CSV or JSON",
        abusech.fits_malwarebazaar,
        abusech.MALWAREBAZAAR.read,
    ),
    Reader("abuseipdb", "the blacklist of AbuseIPDB, JSON", abuseipdb.fits, abuseipdb.ABUSEIPDB.read),
    Reader("crowdsec", "decisions (JSON or CSV) or alerts (JSON) of CrowdSec", crowdsec.fits, crowdsec.read),
    Reader("otx", "pulses of LevelBlue OTX, JSON", otx.fits, otx.read),
    Reader("openioc", "OpenIOC 1.0 or 1.1, XML", openioc.fits, openioc.read),
    Reader("ecs", "documents of the Elastic Common Schema with threat.indicator, JSON lines", ecs.fits, ecs.read),
    Reader("suricata-eve", "alerts in the eve.json of Suricata", suricata.fits_eve, suricata.read_eve),
    Reader("zeek", "a file of Zeek's Intelligence Framework", zeek.fits, zeek.read),
    Reader("suricata-iprep", "a reputation file of Suricata", suricata.fits_iprep, suricata.read_iprep),
    Reader(
        "suricata-dataset", "a dataset of Suricata of the type string (base64)", suricata.fits_set, suricata.read_set
    ),
    Reader("spamhaus", "DROP lists of Spamhaus, text or JSON lines", spamhaus.fits, spamhaus.read),
    Reader("dshield", "the block list of DShield", dshield.fits, dshield.read),
    Reader("pdf", "a report as PDF: what in it is defanged, and hashes", report.fits_pdf, report.read_pdf),
    Reader("html", "a report as HTML: what in it is defanged, and hashes", report.fits_html, report.read_html),
    Reader("json", "any other JSON document with a list of objects in it", json_table.fits, json_table.read),
    Reader(
        "jsonl",
        "JSON Lines: an item of POST /api/threats on each line",
        lambda head: jsonlines.sniff(head.lines),
        jsonlines.read,
    ),
    Reader(
        "delimited",
        "a table: CSV, TSV, semicolons or bars",
        lambda head: delimited.sniff(head.lines),
        delimited.read,
    ),
    Reader("text", "a report in words: what in it is defanged, and hashes", report.fits_text, report.read_text),
    Reader(
        "plain",
        "one value a line, or a hosts file; # and ; begin a comment",
        lambda head: plain.sniff(head.lines),
        plain.read,
    ),
)
"""In the order they are tried in: the last takes whatever no other does."""


def reader(name: str) -> Reader:
    """The format of that name; raises `ValueError`, with the names there are, for another."""
    for candidate in READERS:
        if candidate.name == name:
            return candidate
    raise ValueError(f"no format {name!r}: choose from {', '.join(known.name for known in READERS)}")


def detected(head: Head) -> Reader:
    """The format that an input looks like by its beginning."""
    return next(candidate for candidate in READERS if candidate.fits(head))
