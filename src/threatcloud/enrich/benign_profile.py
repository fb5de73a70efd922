"""Which benign lists count, for what, and why: one row each. Lists of the MISP warninglists that have no row
are not used, with the reasons at the end.

``never`` protects what has many innocent users or was built to be named in reports. ``corroborate`` is for
what anybody can rent or use and abusers do: one voice is not enough there, two are.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from threatcloud.domain.publication import Policy
from threatcloud.enrich import benign_entries as ours


class Holds(StrEnum):
    """What a list holds, and so what it is compared with."""

    NETWORKS = "networks"
    NAMES = "names"
    HASHES = "hashes"


class Row(NamedTuple):
    """One list: its name (the directory in the package, unless ``entries`` are our own), and the sentence shown.

    ``zones``: entries that begin with one of these speak for every name below them too. ``ranking``: it ranks names
    by use; a name on a ranking of the policy ``corroborate`` becomes ``never`` (the row RANKINGS) when a second such
    ranking has it, or when its registered domain is ``never`` itself.
    """

    name: str
    holds: Holds
    policy: Policy
    reason: str
    zones: tuple[str, ...] = ()
    ranking: bool = False
    entries: tuple[str, ...] | None = None


#: The row of the names on which rankings agree; it has no list of its own.
RANKINGS: Final = "several rankings"

_ALL: Final = ("",)
_NETWORKS, _NAMES, _HASHES = Holds
_NEVER, _CORROBORATE = Policy
_RESOLVER: Final = "It is a public DNS resolver: everybody who uses it would lose name resolution."
_CDN: Final = "A content delivery network serves countless unrelated sites from it."
_MAIL: Final = "The mail of a large provider's many customers leaves or arrives here."
_OFFICE: Final = "Microsoft 365 is reached there."
_SCANNER: Final = "A research scanner that says who it is probes the Internet from it; it does not attack."
_CLOUD: Final = "Anybody can rent an address there, and the next tenant is another party."
_SERVICE: Final = "It is a well-known service that reports mention and malware merely uses."
_POPULAR: Final = "It is among the most used names of the Internet."
_FALSE_POSITIVE: Final = "The file is known to be harmless."

#: The packaged lists of research scanners, and our own. Operators who want to block scanners skip all of these.
SCANNERS: Final = (
    "research-scanners",
    "alphastrike-research-nt-scanning",
    "alphastrike-scanning",
    "bufferover-nt-scanning",
    "censys-scanning",
    "check-host-net",
    "coalition-signals-intelligence-nt-scanning",
    "cybergreen-nt-scanning",
    "cyberresilience-nt-scanning",
    "cypex-nt-scanning",
    "f6-nt-scanning",
    "internet-census-nt-scanning",
    "intrinsec-nt-scanning",
    "ipinfo-nt-scanning",
    "ipip-nt-scanning",
    "modat-nt-scanning",
    "modat-scanner",
    "netsecscan-nt-scanning",
    "netsecscan-scanning",
    "onyphe-nt-scanning",
    "onyphe-scanner",
    "probethenet-nt-scanning",
    "rapid7-nt-scanning",
    "research-scanner-nt-scanning",
    "shadowforce-nt-scanning",
    "shadowforce-scanning",
    "shadowserver",
    "shadowserver-nt-scanning",
    "shodan-nt-scanning",
    "shodan-scanning",
    "skipa-nt-scanning",
    "tenable-cloud-ipv4",
    "tenable-cloud-ipv6",
)

#: Every list that is used, strongest first: the first row that holds a value names the hit.
ROWS: Final = (
    Row("public-dns", _NETWORKS, _NEVER, _RESOLVER, entries=ours.RESOLVERS),
    Row("dns-root", _NETWORKS, _NEVER, "It is a root name server.", entries=ours.ROOT_SERVERS),
    # Mostly open resolvers at homes; of the addresses in real feeds, one in 4,000 is among them.
    Row("public-dns-v4", _NETWORKS, _NEVER, _RESOLVER),
    Row("public-dns-v6", _NETWORKS, _NEVER, _RESOLVER),
    Row("cloudflare", _NETWORKS, _NEVER, _CDN),
    Row("fastly", _NETWORKS, _NEVER, _CDN),
    # The list holds the hosting company that Akamai bought, too (Linode, 172.232.0.0/13): most of its hits in real
    # feeds are rented machines there. Nothing of Akamai is published all the same, since that is what is promised.
    Row("akamai", _NETWORKS, _NEVER, _CDN),
    Row("googlebot", _NETWORKS, _NEVER, "Google indexes sites from it."),
    Row("google-gmail-sending-ips", _NETWORKS, _NEVER, _MAIL),
    Row("microsoft-office365-ip", _NETWORKS, _NEVER, _OFFICE),
    Row("microsoft-office365-cn", _NETWORKS, _NEVER, _OFFICE),
    Row("smtp-sending-ips", _NETWORKS, _NEVER, _MAIL),
    Row("smtp-receiving-ips", _NETWORKS, _NEVER, _MAIL),
    Row("apple", _NETWORKS, _NEVER, "Apple runs its services there and rents none of it out."),
    Row("wikimedia", _NETWORKS, _NEVER, "Wikipedia and its sister projects are served from it."),
    # The package's list mixes these with the Azure ranges its hosted runners rent: the row github below.
    Row(
        "github-own",
        _NETWORKS,
        _NEVER,
        "GitHub and the sites it hosts are served from it.",
        entries=ours.GITHUB,
    ),
    Row("zscaler", _NETWORKS, _NEVER, "The employees of many companies reach the Internet through it."),
    Row("umbrella-blockpage-v4", _NETWORKS, _NEVER, "It shows Cisco Umbrella's block page."),
    Row("umbrella-blockpage-v6", _NETWORKS, _NEVER, "It shows Cisco Umbrella's block page."),
    Row(
        "sinkholes",
        _NETWORKS,
        _NEVER,
        "Defenders listen there; blocking it hides the machines that are infected.",
    ),
    Row(
        "parking-domain",
        _NETWORKS,
        _NEVER,
        "Parked names by the thousand point to it, seized ones among them.",
    ),
    # A nuisance, and yet no attack: the addresses on most feeds at once are theirs, which makes counting feeds lie.
    *(
        Row(name, _NETWORKS, _NEVER, _SCANNER, entries=ours.SCANNERS if name == "research-scanners" else None)
        for name in SCANNERS
    ),
    Row("one-party", _NAMES, _NEVER, "One party runs every name below it.", _ALL, entries=ours.ZONES),
    Row("shared-platforms", _NAMES, _NEVER, _SERVICE, entries=ours.PLATFORMS),
    # Whole zones only below google.TLD: the rest has redirectors, customers' buckets and translated sites.
    Row("google", _NAMES, _NEVER, "It is Google's.", zones=("google.", ".google.")),
    Row("microsoft", _NAMES, _NEVER, "It is Microsoft's."),
    Row("microsoft-office365", _NAMES, _NEVER, _OFFICE),
    Row("microsoft-win10-connection-endpoints", _NAMES, _NEVER, "Every Windows machine connects to it."),
    Row("microsoft-attack-simulator", _NAMES, _NEVER, "Microsoft 365 trains its users with it."),
    Row("captive-portals", _NAMES, _NEVER, "Devices look it up to find out whether they are online."),
    Row("umbrella-blockpage-hostname", _NAMES, _NEVER, "It shows Cisco Umbrella's block page."),
    Row(
        "lots-project",
        _NAMES,
        _NEVER,
        "A trusted site that abusers put their files on; block the URL instead.",
    ),
    Row(
        "digitalside",
        _NAMES,
        _NEVER,
        "A trusted site that abusers put their files on; block the URL instead.",
    ),
    Row("security-provider-blogpost", _NAMES, _NEVER, "Reports are published there, and cite it."),
    Row("automated-malware-analysis", _NAMES, _NEVER, "Malware is analysed there, and reports cite it."),
    Row("bank-website", _NAMES, _NEVER, "It is a bank's, and named where phishers pose as it.", _ALL),
    Row("dax30", _NAMES, _NEVER, "It is a large company's, and named where phishers pose as it.", _ALL),
    # Not their subdomains: hacked sites of departments and students are real (118 in the feeds measured).
    Row("university_domains", _NAMES, _NEVER, "It is a university's."),
    Row("whats-my-ip", _NAMES, _NEVER, _SERVICE),
    Row("findip-host", _NAMES, _NEVER, _SERVICE),
    # Other sites' links vouch for these two: one is enough.
    Row("majestic_million", _NAMES, _NEVER, _POPULAR, ranking=True),
    Row("moz-top500", _NAMES, _NEVER, _POPULAR, ranking=True),
    Row(RANKINGS, _NAMES, _NEVER, _POPULAR, ranking=True, entries=()),
    Row("empty-hashes", _HASHES, _NEVER, "It is the hash of an empty file."),
    Row("eicar.com", _HASHES, _NEVER, "It is the harmless test file for virus scanners."),
    Row("common-ioc-false-positive", _HASHES, _NEVER, _FALSE_POSITIVE),
    Row("ti-falsepositives", _HASHES, _NEVER, _FALSE_POSITIVE),
    Row("nioc-filehash", _HASHES, _NEVER, _FALSE_POSITIVE),
    Row("mozilla-CA", _HASHES, _NEVER, "It is the fingerprint of a certificate browsers trust."),
    Row("mozilla-IntermediateCA", _HASHES, _NEVER, "It is the fingerprint of a certificate browsers trust."),
    # These count visits and DNS traffic, which advertising fraud and malware have plenty of: one is not enough.
    Row("tranco10k", _NAMES, _CORROBORATE, _POPULAR, ranking=True),
    Row("alexa", _NAMES, _CORROBORATE, _POPULAR, ranking=True),
    Row("cisco_top20k", _NAMES, _CORROBORATE, _POPULAR, ranking=True),
    Row("amazon-aws", _NETWORKS, _CORROBORATE, _CLOUD),
    Row("microsoft-azure", _NETWORKS, _CORROBORATE, _CLOUD),
    Row("microsoft-azure-china", _NETWORKS, _CORROBORATE, _CLOUD),
    Row("microsoft-azure-germany", _NETWORKS, _CORROBORATE, _CLOUD),
    Row("microsoft-azure-us-gov", _NETWORKS, _CORROBORATE, _CLOUD),
    Row("google-gcp", _NETWORKS, _CORROBORATE, _CLOUD),
    Row(
        "github",
        _NETWORKS,
        _CORROBORATE,
        "GitHub runs anybody's build jobs there, in ranges it shares with Azure.",
    ),
    Row(
        "ovh-cluster",
        _NETWORKS,
        _CORROBORATE,
        "Thousands of unrelated sites share each of these web servers.",
    ),
    Row("openai-gptbot", _NETWORKS, _CORROBORATE, _CLOUD),  # two Azure ranges, as of 2024
    Row("stackpath", _NETWORKS, _CORROBORATE, "A content delivery network used it until 2024."),  # since sold
    # Blocking the bare name blocks all that share it; some of them are run by abusers, so two voices may.
    Row("url-shortener", _NAMES, _CORROBORATE, "It is a URL shortener."),
    Row("link-in-bio", _NAMES, _CORROBORATE, "It hosts anybody's page of links."),
    Row("public-ipfs-gateways", _NAMES, _CORROBORATE, "It shows anybody's files."),
    Row("dynamic-dns", _NAMES, _CORROBORATE, "Anybody gets a host name below it."),
)

# Not used: vpn-ipv4, vpn-ipv6 (renting from a VPN is no merit; they hold 38 % of all listed addresses); tlds,
# second-level-tlds (the Public Suffix List is newer); rfc1918, rfc3849, rfc5735, rfc6598, multicast,
# ipv6-linklocal (our own table), rfc6761 (our own set); tranco, google-chrome-crux-1million (a million names
# each: 8,583 and 2,111 of the listed names, mostly fraud and hacked sites); cisco_top1000, 5k, 10k (within
# cisco_top20k); crl-ip, crl-hostname (empty); public-dns-hostname (reverse names of homes); parking-domain-ns
# (blocked on purpose, and none the worse); covid, covid-19-* (names of 2020, many since sold);
# disposable-email (no merit either); common-contact-emails (our own set of role mailboxes); phone_numbers,
# microsoft-azure-appid (no indicator of ours).
