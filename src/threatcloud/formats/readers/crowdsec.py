"""Decisions and alerts of CrowdSec: what its local API and `cscli` write as JSON, and CSV for `cscli decisions import`.

An alert is an observation of its source, at its own time; its decisions are what was done about it. How long a decision
holds is kept as it is written (`4h`): the list tells not from when.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from threatcloud.formats.readers.found import Columns, Found, Passed, Reject, Row, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.meanings import category_of, fields_of
from threatcloud.formats.readers.records import Record, Vendor, fits_records, json_records
from threatcloud.formats.readers.source import Source

#: Scopes that are no address say nothing of one.
_SCOPES: Final[Mapping[str, str | None]] = {"ip": "ip", "range": "ip", "country": None, "as": None, "session": None}

_DECISIONS: Final = Vendor(
    "crowdsec",
    values=(("value", "ip"),),
    types=("scope", _SCOPES),
    fields={
        "duration": "duration",
        "origin": "origin",
        "scenario": "tags",
        "reason": "description",
        "created_at": "timestamp",
        "type": "decision",
    },
    also=lambda record: {"category": category_of([str(record.get("scenario") or record.get("reason") or "")])},
    known=frozenset(
        {"id", "uuid", "simulated", "until", "start_ip", "end_ip", "start_suffix", "end_suffix", "ip_size"}
    ),
)
_fits_decisions: Final = fits_records("scope", "value", "duration", "origin")


def fits(head: Head) -> bool:
    """Whether it has decisions, or alerts with their scenario."""
    return _fits_decisions(head) or head.says("scenario", "source", "events_count")


def read(source: Source, columns: Columns) -> Iterator[Found]:
    """The rows of decisions, or of the sources of alerts."""
    no_columns("crowdsec", columns)
    return _alerts(source) if source.head().says("scenario", "source") else _DECISIONS.read(source, columns)


def _alerts(source: Source) -> Iterator[Found]:
    for found in json_records(source):
        if isinstance(found, Reject | Passed):
            yield found
        elif "source" in found[1]:
            yield from _of_alert(*found)
        else:
            yield Passed("CrowdSec object without a source")


def _of_alert(line: int, alert: Record) -> Iterator[Found]:
    seen = alert["source"] if isinstance(alert["source"], dict) else {}
    scope, value = str(seen.get("scope") or "").lower(), seen.get("value") or seen.get("ip")
    if alert.get("simulated") is True:
        yield Passed("simulated alert")
    elif scope and _SCOPES.get(scope) is None:
        yield Passed(f"CrowdSec scope {scope[:20]}")
    elif not isinstance(value, str) or not value:
        yield Reject(line, str(alert.get("id"))[:120], "value", "is an alert without an address")
    else:
        yield Row(line, value, "ip", fields_of(_said(alert, seen)))


def _said(alert: Record, seen: Mapping[str, Any]) -> dict[str, Any]:
    scenario = str(alert.get("scenario") or "")
    labels = alert.get("labels")
    given = alert.get("decisions")
    decisions = [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
    return {
        "category": category_of([scenario]),
        "timestamp": alert.get("stop_at") or alert.get("start_at") or alert.get("created_at"),
        "tags": [scenario, *(labels if isinstance(labels, list) else ())],
        "country": seen.get("cn"),
        "asn": seen.get("as_number"),
        "attempts": alert.get("events_count"),
        "description": alert.get("message"),
        "duration": next((item.get("duration") for item in decisions), None),
        "decision": next((item.get("type") for item in decisions), None),
        "network": seen.get("range"),
    }
