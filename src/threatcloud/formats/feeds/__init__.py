"""Formats that lists are published in, one module each; a new one is a module and a line in `FORMATS`."""

from typing import Final

from threatcloud.domain.errors import invalid
from threatcloud.formats.feeds import (
    adguard,
    cisco,
    crowdsec,
    csv_table,
    dnsmasq,
    elastic,
    fortinet,
    hosts,
    ipset,
    iptables,
    json_document,
    misp,
    mmdb,
    ndjson,
    nftables,
    paloalto,
    pf_alias,
    pihole,
    plain,
    rpz,
    sigma,
    snort,
    splunk,
    stix,
    suricata_dataset,
    suricata_iprep,
    unbound,
    wazuh,
    yara,
    zeek,
)
from threatcloud.formats.feeds.format import (
    LISTED_KINDS,
    Format,
    Rendering,
    check,
    check_all,
    check_delta,
    render,
    render_all,
)
from threatcloud.formats.feeds.snapshot import Snapshot

__all__ = [
    "FORMATS",
    "LISTED_KINDS",
    "NAMES",
    "PLAIN",
    "Format",
    "Rendering",
    "Snapshot",
    "check",
    "check_all",
    "check_delta",
    "find_format",
    "render",
    "render_all",
]

FORMATS: Final = (
    plain.FORMAT,
    csv_table.FORMAT,
    json_document.FORMAT,
    ndjson.FORMAT,
    hosts.FORMAT,
    dnsmasq.FORMAT,
    unbound.FORMAT,
    rpz.FORMAT,
    adguard.FORMAT,
    pihole.FORMAT,
    ipset.FORMAT,
    nftables.FORMAT,
    iptables.FORMAT,
    iptables.FORMAT_V6,
    paloalto.FORMAT,
    pf_alias.FORMAT,
    pf_alias.FORMAT_OPNSENSE,
    cisco.FORMAT,
    fortinet.FORMAT,
    suricata_iprep.FORMAT,
    suricata_dataset.FORMAT,
    suricata_dataset.FORMAT_SHA256,
    suricata_dataset.FORMAT_MD5,
    snort.FORMAT,
    zeek.FORMAT,
    wazuh.FORMAT,
    splunk.FORMAT,
    elastic.FORMAT,
    sigma.FORMAT,
    yara.FORMAT,
    stix.FORMAT,
    misp.FORMAT,
    mmdb.FORMAT,
    crowdsec.FORMAT,
)
PLAIN: Final = plain.FORMAT
NAMES: Final = tuple(known.name for known in FORMATS)
_BY_WORD: Final = {word: known for known in FORMATS for word in (known.extension, known.name)}


def find_format(word: str) -> Format:
    """The format of that name or extension; InvalidInput with the names there are, for another."""
    known = _BY_WORD.get(word)
    if known is None:
        raise invalid("format", f"must be one of {', '.join(NAMES)}")
    return known
