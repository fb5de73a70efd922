"""The lists of abuse.ch: ThreatFox, URLhaus, Feodo Tracker and MalwareBazaar, as CSV and as JSON, exports and answers
of their APIs alike."""

from threatcloud.formats.readers.head import Head
from threatcloud.formats.readers.records import Vendor, fits_records

_COMMON = frozenset({"id", "reporter", "anonymous", "is_compromised", "md5", "date_added"})

THREATFOX = Vendor(
    "threatfox",
    values=(("ioc_value", None), ("ioc", None)),
    types=(
        "ioc_type",
        {
            "ip:port": "ip",
            "ip": "ip",
            "domain": "domain",
            "url": "url",
            "md5_hash": "hash",
            "sha1_hash": "hash",
            "sha256_hash": "hash",
            "sha3_384_hash": None,
            "envelope_from": "email",
            "body_from": "email",
        },
    ),
    fields={
        "threat_type": "category",
        "confidence_level": "percentage",
        "first_seen_utc": "timestamp",
        "first_seen": "timestamp",
        "malware_printable": "malwareFamily",
        "malware_alias": "tags",
        "fk_malware": "tags",
        "malware": "tags",
        "tags": "tags",
        "reference": "references",
        "malware_malpedia": "references",
        "last_seen_utc": "lastSighted",
        "last_seen": "lastSighted",
        "reporter": "reporter",
        "ioc_id": "threatfoxId",
    },
    also=lambda record: {"ports": _port(str(record.get("ioc_value") or record.get("ioc") or ""))},
    known=_COMMON | {"threat_type_desc", "ioc_type_desc", "malware_samples", "comment", "user_id"},
)

URLHAUS = Vendor(
    "urlhaus",
    values=(("url", "url"),),
    fields={
        "threat": "category",
        "dateadded": "timestamp",
        "date_added": "timestamp",
        "last_online": "lastSighted",
        "tags": "tags",
        "urlhaus_link": "references",
        "urlhaus_reference": "references",
        "reporter": "reporter",
        "url_status": "urlStatus",
    },
    usual={"category": "malware"},
    known=_COMMON | {"host", "larted", "blacklists", "takedown_time_seconds"},
)

FEODO = Vendor(
    "feodo",
    values=(("ip_address", "ip"), ("dst_ip", "ip")),
    fields={
        "port": "ports",
        "dst_port": "ports",
        "first_seen_utc": "timestamp",
        "first_seen": "timestamp",
        "last_online": "lastSighted",
        "malware": "malwareFamily",
        "country": "country",
        "as_number": "asn",
        "status": "c2Status",
        "c2_status": "c2Status",
        "hostname": "hostname",
    },
    usual={"category": "c2"},
    known=frozenset({"as_name"}),
)

MALWAREBAZAAR = Vendor(
    "malwarebazaar",
    values=(("sha256_hash", "hash"), ("sha1_hash", "hash"), ("md5_hash", "hash")),
    fields={
        "first_seen_utc": "timestamp",
        "first_seen": "timestamp",
        "signature": "malwareFamily",
        "tags": "tags",
        "file_name": "fileName",
        "file_type": "fileType",
        "file_type_guess": "fileType",
        "reporter": "reporter",
        "origin_country": "country",
        "last_seen": "lastSighted",
    },
    usual={"category": "malware"},
    known=_COMMON
    | frozenset(
        {
            *(
                "mime_type",
                "file_type_mime",
                "clamav",
                "vtpercent",
                "imphash",
                "ssdeep",
                "tlsh",
                "dhash_icon",
                "gimphash",
            ),
            *("sha3_384_hash", "file_size", "telfhash", "icon_dhash", "code_sign", "delivery_method", "intelligence"),
        }
    ),
)


def _port(value: str) -> str | None:
    port = value.rpartition(":")[2]
    return port if "/" not in value and value.count(":") == 1 and port.isdigit() else None


fits_threatfox = fits_records("ioc_type", "threat_type")
fits_urlhaus = fits_records("url", "url_status", "threat")
fits_malwarebazaar = fits_records("sha256_hash", "reporter", "signature")


def fits_feodo(head: Head) -> bool:
    """Whether it lists addresses with the status of a server."""
    return fits_records("dst_ip", "c2_status")(head) or fits_records("ip_address", "port", "last_online")(head)
