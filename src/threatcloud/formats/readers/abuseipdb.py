"""The blacklist of AbuseIPDB (API v2), as JSON."""

from threatcloud.formats.readers.records import Vendor, fits_records

ABUSEIPDB = Vendor(
    "abuseipdb",
    values=(("ipAddress", "ip"),),
    fields={
        "abuseConfidenceScore": "percentage",
        "countryCode": "country",
        "lastReportedAt": "timestamp",
        "totalReports": "attempts",
        "domain": "hostname",
    },
    known=frozenset(
        {"ipVersion", "isPublic", "isWhitelisted", "usageType", "isp", "hostnames", "isTor", "countryName"}
    ),
)
fits = fits_records("ipAddress", "abuseConfidenceScore")
