"""What Suricata reads and writes: reputation files, datasets of the type string, and alerts in eve.json.

Of an alert the address on the other side counts: the one that is not private, or where none is, who sent it.
"""

import base64
import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from threatcloud.formats.readers.found import Columns, Found, Passed, Reject, Row, excerpt, no_columns
from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.meanings import category_of, fields_of
from threatcloud.formats.readers.records import line_records
from threatcloud.formats.readers.source import Source

_SEVERITIES: Final = {1: "high", 2: "medium", 3: "low"}
_reputation: Final = re.compile(r"[0-9a-fA-F.:/]+,\d{1,2},\d{1,3}").fullmatch
_base64: Final = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}(,.*)?").fullmatch


def fits_iprep(head: Head) -> bool:
    """Whether every line is an address, a category and a reputation."""
    lines = [line for line in head.lines if line.strip() and not line.startswith("#")]
    return bool(lines) and all(map(_reputation, lines)) and all("." in line or ":" in line for line in lines)


def read_iprep(source: Source, columns: Columns) -> Iterator[Found]:
    """A row or reject for each line. What the numbers of categories mean, another file tells; they become tags."""
    no_columns("suricata-iprep", columns)
    return _iprep(source)


def _iprep(source: Source) -> Iterator[Found]:
    for number, line in enumerate(source, 1):
        if isinstance(line, Reject):
            yield line
        elif line.strip() and not line.startswith("#"):
            cells = [cell.strip() for cell in line.split(",")]
            if len(cells) != 3 or not cells[2].isdigit() or int(cells[2]) > 127:
                yield Reject(number, excerpt(line), "line", "is not an address, a category and a reputation up to 127")
            elif cells[2] == "0":
                yield Passed("address with the reputation 0")
            else:
                said = {"confidence": round(int(cells[2]) / 127, 2), "tags": [f"iprep:{cells[1]}"]}
                yield Row(number, cells[0], "ip", fields_of(said))


def fits_set(head: Head) -> bool:
    """Whether every line is the base64 of a name or of a URL."""
    lines = [line for line in head.lines if line.strip()]
    return bool(lines) and all(_base64(line) and "." in _decoded(line.split(",")[0]) for line in lines)


def read_set(source: Source, columns: Columns) -> Iterator[Found]:
    """A row or reject for each line; what follows a comma is its reputation there, and passed over."""
    no_columns("suricata-dataset", columns)
    return _set(source)


def _set(source: Source) -> Iterator[Found]:
    for number, line in enumerate(source, 1):
        if isinstance(line, Reject):
            yield line
        elif line.strip():
            value = _decoded(line.split(",")[0].strip())
            yield Row(number, value) if value else Reject(number, excerpt(line), "value", "is no base64 of a text")


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:  # of base64, or of UTF-8; also of a text that is not ASCII
        return ""


def fits_eve(head: Head) -> bool:
    """Whether it has events with addresses."""
    return head.says("event_type", "src_ip") and b"\n" in head.data + b"\n"


def read_eve(source: Source, columns: Columns) -> Iterator[Found]:
    """A row for each alert; other events are passed over."""
    no_columns("suricata-eve", columns)
    return _eve(source)


def _eve(source: Source) -> Iterator[Found]:
    for found in line_records(source):
        if isinstance(found, Reject):
            yield found
        elif found[1].get("event_type") != "alert":
            yield Passed(f"event {str(found[1].get('event_type'))[:30]}")
        else:
            yield _of_alert(*found)


def _of_alert(line: int, event: Mapping[str, Any]) -> Found:
    alert = event.get("alert") if isinstance(event.get("alert"), dict) else {}
    assert isinstance(alert, dict)
    own, other = str(event.get("src_ip") or ""), str(event.get("dest_ip") or "")
    value = other if _is_private(own) and other and not _is_private(other) else own
    if not value:
        return Reject(line, excerpt(str(event)), "value", "is an alert without an address")
    signature, kind = str(alert.get("signature") or ""), str(alert.get("category") or "")
    severity = alert.get("severity")
    said = {
        "category": category_of([signature, kind]),
        "severity": _SEVERITIES.get(severity) if isinstance(severity, int) else None,
        "timestamp": event.get("timestamp"),
        "tags": [kind, f"sid:{alert.get('signature_id')}"],
        "ports": str(event.get("dest_port") or ""),
        "protocols": [str(event.get("app_proto") or event.get("proto") or "").lower()],
        "description": signature,
    }
    return Row(line, value, "ip", fields_of(said))


def _is_private(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_global
    except ValueError:
        return False
