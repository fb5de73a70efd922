"""The guard over the packaged lists: the promise of the contract, example by example, and how lists are read."""

import gzip
import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.domain.address import WIDTHS, masked, network_value, parse_network
from threatcloud.domain.indicator import Indicator, IndicatorType, detect, detect_observation
from threatcloud.domain.publication import CLEAR, Guard, Policy, Screening
from threatcloud.domain.special_addresses import special_range
from threatcloud.enrich.benign import HashTable, load_benign_lists
from threatcloud.enrich.benign_profile import ROWS, Holds
from threatcloud.enrich.guard import LoadedGuard, load_guard, read_allowlist
from threatcloud.enrich.suffixes import load_suffixes

DATA = Path(__file__).parents[2].parent / "shared" / "data"
LOADED = load_guard()
GUARD = LOADED.guard


def finding(text: str, guard: Guard = GUARD) -> tuple[str, str] | None:
    """The code and list of a withheld value, ``corroborate`` and the list of one that needs a second voice."""
    indicator, anonymised = detect_observation(text)
    withheld, needs_corroboration = guard.screen(indicator, anonymised)
    if withheld:
        return withheld.code, withheld.list_name
    return ("corroborate", needs_corroboration) if needs_corroboration else None


def test_every_list_of_the_profile_is_in_the_package() -> None:
    assert LoadedGuard(GUARD, missing=(), problems=()) == LOADED


def test_lists_of_the_policy_never_rank_first() -> None:
    policies = [row.policy for row in ROWS]
    assert policies == sorted(policies, key=[Policy.NEVER, Policy.CORROBORATE].index)
    assert len({row.name for row in ROWS}) == len(ROWS) < 256


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Non-global addresses.
        ("10.0.0.5", ("non-global", "Private-Use (RFC 1918)")),
        ("::ffff:10.0.0.1", ("non-global", "Private-Use (RFC 1918)")),
        ("2002:0a00:0001::", ("non-global", "6to4 (RFC 3056) of Private-Use (RFC 1918)")),
        ("100.64.1.1", ("non-global", "Shared Address Space (RFC 6598)")),
        ("224.0.0.1", ("non-global", "Multicast (RFC 5771)")),
        ("64:ff9b::8.8.8.8", ("non-global", "IPv4-IPv6 Translation (NAT64) (RFC 6052)")),
        ("http://192.168.1.1/setup.cgi", ("non-global", "Private-Use (RFC 1918)")),
        # Anonymised, too wide.
        ("203.0.0.0", ("anonymised", "anonymised")),
        ("91.92.0.0", ("anonymised", "anonymised")),
        ("0.0.0.0/0", ("non-global", "This network (RFC 791)")),
        ("4.0.0.0/9", ("too-wide", "too wide")),
        ("2a02::/20", ("too-wide", "too wide")),
        # Public DNS resolvers, in either direction.
        ("8.8.8.8", ("benign-list", "public-dns")),
        ("8.8.8.0/24", ("benign-list", "public-dns")),
        ("8.8.0.0/16", ("benign-list", "public-dns")),
        ("1.0.0.1", ("benign-list", "public-dns")),
        ("9.9.9.9", ("benign-list", "public-dns")),
        ("2001:4860:4860::8888", ("benign-list", "public-dns")),
        ("2001:4860::/32", ("benign-list", "public-dns")),
        ("2001:148f:fffe::1", ("benign-list", "public-dns-v6")),
        ("193.0.14.129", ("benign-list", "dns-root")),
        # Content delivery, crawlers, mail, offices.
        ("104.16.1.1", ("benign-list", "cloudflare")),
        ("104.16.0.0/20", ("benign-list", "cloudflare")),
        ("2606:4700::6810:84e5", ("benign-list", "cloudflare")),
        ("151.101.1.69", ("benign-list", "fastly")),
        ("23.32.5.5", ("benign-list", "akamai")),
        ("172.225.1.1", ("benign-list", "akamai")),
        ("66.249.66.1", ("benign-list", "googlebot")),
        ("209.85.220.41", ("benign-list", "google-gmail-sending-ips")),
        ("52.97.1.1", ("benign-list", "microsoft-office365-ip")),
        ("17.253.144.10", ("benign-list", "apple")),
        ("140.82.121.4", ("benign-list", "github-own")),
        ("185.199.108.153", ("benign-list", "github-own")),
        ("198.235.24.7", ("benign-list", "research-scanners")),
        ("184.105.139.100", ("benign-list", "shadowserver-nt-scanning")),
        ("162.142.125.10", ("benign-list", "research-scanners")),
        # Rented clouds: a host with a second voice, a network never.
        ("52.20.30.40", ("corroborate", "amazon-aws")),
        ("52.20.30.0/24", ("shared-network", "amazon-aws")),
        ("104.154.113.0/31", ("shared-network", "google-gcp")),
        ("172.233.1.1", ("benign-list", "akamai")),
        ("http://52.20.30.40/", ("corroborate", "amazon-aws")),
        ("http://52.20.30.40/x.sh", None),
        # Public suffixes, ICANN and private; a name below one is judged alone.
        ("co.uk", ("public-suffix", "Public Suffix List")),
        ("github.io", ("public-suffix", "Public Suffix List")),
        ("s3.amazonaws.com", ("public-suffix", "Public Suffix List")),
        ("duckdns.org", ("public-suffix", "Public Suffix List")),
        ("foo.github.io", None),
        ("evil-bucket.s3.amazonaws.com", None),
        ("d111111abcdef8.cloudfront.net", None),
        ("evil.blogspot.com", None),
        ("evil.azurewebsites.net", None),
        ("evil.pages.dev", None),
        # Top domains by their own name and www.; subdomains only where one party runs them all.
        ("google.com", ("benign-list", "one-party")),
        ("www.google.com", ("benign-list", "one-party")),
        ("unheard-of.google.com", ("benign-list", "one-party")),
        ("maps.google.co.kr", ("benign-list", "google")),
        ("booking.com", ("top-domain", "majestic_million")),
        ("www.coinbase.com", ("top-domain", "majestic_million")),
        ("pixel.rubiconproject.com", ("top-domain", "several rankings")),
        ("astonishlandmassnervy.com", ("corroborate", "tranco10k")),  # advertising fraud, far up
        ("evil.sharepoint.com", None),
        ("evil.storage.googleapis.com", None),
        ("google.com.evil.top", None),
        ("gooogle-login.com", None),
        ("cdn.discordapp.com", ("benign-list", "shared-platforms")),
        ("wordpress.com", ("benign-list", "lots-project")),
        ("online.santander.de", ("benign-list", "bank-website")),
        ("mit.edu", ("benign-list", "university_domains")),
        ("dig.csail.mit.edu", None),
        ("https://www.google.com/", ("benign-list", "one-party")),
        ("https://docs.google.com/forms/d/evil", None),
        ("https://drive.google.com/?id=evil", None),
        ("http://localhost/x", ("special-name", "special-use names")),
        # Files and mailboxes.
        ("d41d8cd98f00b204e9800998ecf8427e", ("benign-list", "empty-hashes")),
        ("275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f", ("benign-list", "eicar.com")),
        ("14bfa6bb14875e45bba028a21ed38046", ("benign-list", "nioc-filehash")),
        ("44d88612fea8a8f36de82e1278abb02f", ("benign-list", "eicar.com")),
        ("abuse@evil.top", ("role-mailbox", "RFC 2142")),
        ("service@paypal.com", ("benign-list", "one-party")),
        ("evil@gmail.com", None),
        ("evil-login.top", None),
        ("91.92.240.3", None),
        ("CVE-2021-44228", None),
    ],
)
def test_the_promise(text: str, expected: tuple[str, str] | None) -> None:
    assert finding(text) == expected


def packaged(holds: Holds) -> Iterator[tuple[Policy, str]]:
    """Every entry of the packaged lists of a kind and its policy, straight from the files."""
    package = find_spec("pymispwarninglists")
    assert package is not None
    assert package.origin is not None
    lists = Path(package.origin).parent / "data" / "misp-warninglists" / "lists"
    for row in ROWS:
        if row.holds is holds and row.entries is None:
            for entry in json.loads((lists / row.name / "list.json").read_bytes())["list"]:
                yield row.policy, entry


def kept(found: Screening, policy: Policy) -> bool:
    """Whether a finding is at least as strict as a policy."""
    return found.withheld is not None if policy is Policy.NEVER else found != CLEAR


def test_every_listed_network_and_its_ends_are_kept_back() -> None:
    for policy, entry in packaged(Holds.NETWORKS):
        network = ip_network(entry, strict=False)
        for address in {network.network_address, network.broadcast_address}:
            assert kept(GUARD.screen(detect(f"{address}/{network.max_prefixlen}")), policy), entry
        if network.num_addresses > 1:
            assert kept(GUARD.screen(detect(str(network))), Policy.NEVER), entry


def test_every_listed_name_is_kept_back() -> None:
    for policy, entry in packaged(Holds.NAMES):
        name = entry.lower().removeprefix(".").removeprefix("www.")
        if "." in name:
            for spelling in (name, f"www.{name}"):
                assert kept(GUARD.screen(Indicator(IndicatorType.DOMAIN, spelling)), policy) or is_customer(spelling)


def is_customer(name: str) -> bool:
    """Whether a name with ``www.`` is one of its own, below a suffix that is listed."""
    return name.startswith("www.") and GUARD.suffixes.is_public_suffix(name.removeprefix("www."))


def test_every_listed_hash_is_kept_back() -> None:
    for policy, entry in packaged(Holds.HASHES):
        if len(entry) in {32, 40, 64, 128}:
            assert kept(GUARD.screen(detect(entry)), policy), entry


LISTED = [entry for policy, entry in packaged(Holds.NETWORKS)][::50]


@given(st.sampled_from(LISTED), st.integers(0, 128))
def test_a_network_over_a_listed_one_is_withheld(entry: str, wider: int) -> None:
    version, first, prefix = parse_network(entry.lower())
    network = masked(version, first, max(prefix - wider, 0))
    if network.prefix < WIDTHS[network.version]:
        assert GUARD.screen(Indicator(IndicatorType.IP, network_value(network))).withheld is not None


@given(st.integers(0, (1 << 32) - 1))
def test_no_non_global_address_is_let_out_in_any_shape(address: int) -> None:
    value = network_value(masked(4, address, 32)).removesuffix("/32")
    if special_range(parse_network(value)):
        for text in (f"{value}/32", f"http://{value}/x", f"http://{value}:8080/", f"http://[::ffff:{value}]/x"):
            found = GUARD.screen(detect(text)).withheld
            assert found is not None
            assert found.code == "non-global"


def write_lists(directory: Path, **lists: Sequence[str]) -> None:
    for name, entries in lists.items():
        (directory / name).mkdir()
        (directory / name / "list.json").write_text(json.dumps({"list": entries, "name": name, "version": 1}))


def test_lists_are_read_from_a_directory_and_missing_ones_are_named(tmp_path: Path) -> None:
    write_lists(tmp_path, cloudflare=["91.92.240.0/24", "not a network", "91.92.241.7", "2A02:C207::/64"])
    (tmp_path / "fastly").mkdir()
    (tmp_path / "fastly" / "list.json").write_text("{broken")
    (tmp_path / "akamai").mkdir()
    (tmp_path / "akamai" / "list.json").write_text('{"list": [1, 2]}')
    guard, missing, problems = load_guard(lists_directory=tmp_path)
    assert finding("91.92.240.3", guard) == ("benign-list", "cloudflare")
    assert finding("91.92.241.7", guard) == ("benign-list", "cloudflare")
    assert finding("2a02:c207::1", guard) == ("benign-list", "cloudflare")
    assert finding("8.8.8.8", guard) == ("benign-list", "public-dns"), "our own entries need no file"
    assert finding("co.uk", guard) == ("public-suffix", "Public Suffix List")
    assert {"fastly", "akamai", "apple"} <= set(missing)
    assert "cloudflare" not in missing
    assert "public-dns" not in missing
    assert problems == ()


def test_an_operator_can_leave_lists_out() -> None:
    lists, missing = load_benign_lists(load_suffixes(), skip={"public-dns", "public-dns-v4", "shodan-scanning"})
    assert missing == ()
    assert finding("9.9.9.9", Guard(lists, load_suffixes())) is None
    assert finding("104.16.1.1", Guard(lists, load_suffixes())) == ("benign-list", "cloudflare")


def test_rankings_vote(tmp_path: Path) -> None:
    write_lists(
        tmp_path,
        majestic_million=["links.net", "www.dotted.net"],
        tranco10k=["both.net", "traffic.net", "links.net"],
        cisco_top20k=["both.net", "queries.net", "api.links.net", "api.both.net", "api.traffic.net", "x.github.io"],
    )
    guard = load_guard(lists_directory=tmp_path).guard
    assert finding("links.net", guard) == ("top-domain", "majestic_million")
    assert finding("dotted.net", guard) == ("top-domain", "majestic_million")
    assert finding("both.net", guard) == ("top-domain", "several rankings")
    assert finding("traffic.net", guard) == ("corroborate", "tranco10k")
    assert finding("queries.net", guard) == ("corroborate", "cisco_top20k")
    # A host below a name that is never published is beyond doubt too; one below a doubtful name is not.
    assert finding("api.links.net", guard) == ("top-domain", "several rankings")
    assert finding("api.both.net", guard) == ("top-domain", "several rankings")
    assert finding("api.traffic.net", guard) == ("corroborate", "cisco_top20k")
    assert finding("x.github.io", guard) == ("corroborate", "cisco_top20k")
    assert finding("other.links.net", guard) is None


def test_an_operators_file_is_an_allowlist_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "our-offices.txt"
    path.write_text(
        "\ufeff# offices\n91.92.240.0/24   # Berlin\nhxxps://ours[.]com/a#b\n.corp.net\n*.Branch.NET\n\n"
        "not a value at all\n91.92.241.0/33\n.net\n",
        encoding="utf-8",
    )
    allowlist, problems = read_allowlist(path)
    assert allowlist.name == "our-offices"
    assert [problem.partition(":")[0] for problem in problems] == [
        "our-offices.txt, line 7",
        "our-offices.txt, line 8",
        "our-offices.txt, line 9",
    ]
    loaded = load_guard([path, tmp_path / "absent.txt"])
    assert finding("91.92.240.3", loaded.guard) == ("allowlist", "our-offices")
    assert finding("https://ours.com/a", loaded.guard) == ("allowlist", "our-offices")
    assert finding("a.b.corp.net", loaded.guard) == ("allowlist", "our-offices")
    assert finding("a.branch.net", loaded.guard) == ("allowlist", "our-offices")
    assert finding("ours.com", loaded.guard) is None
    assert len(loaded.problems) == 4
    assert loaded.problems[3].startswith("absent.txt cannot be read")


def test_a_file_that_is_no_text_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "binary.txt"
    path.write_bytes(b"\xff\xfe\x00")
    allowlist, problems = read_allowlist(path)
    assert not allowlist
    assert len(problems) == 1


@given(st.lists(st.tuples(st.integers(0, 255), st.lists(st.binary(min_size=16, max_size=16), max_size=8)), max_size=4))
def test_a_hash_reads_the_strongest_of_its_ranks(lists: list[tuple[int, list[bytes]]]) -> None:
    table = HashTable((rank, [digest.hex() for digest in digests]) for rank, digests in lists)
    ranks: dict[str, int] = {}
    for rank, digests in lists:
        for digest in digests:
            ranks[digest.hex()] = min(rank, ranks.get(digest.hex(), 255))
    for value in [*ranks, "0" * 32, "f" * 32]:
        assert table.get(value) == ranks.get(value)
    assert table.get("0" * 128) is None


@pytest.mark.parametrize("junk", ["g" * 32, "aa " * 10 + "aa", "é" * 32])
def test_a_hash_list_with_junk_keeps_its_hashes(junk: str) -> None:
    table = HashTable([(3, ["3::", junk, "ab" * 16, "cd" * 20])])
    assert table.get("ab" * 16) == 3
    assert table.get("cd" * 20) == 3
    assert table.get("ac" * 16) is None


def feed(name: str, every: int, sources: int = 1) -> list[Indicator]:
    """A sample of the indicators in a real feed that at least so many sources list."""
    path = DATA / name
    if not path.exists():
        pytest.skip("the public threat data is not beside the checkout")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [detect(row[0]) for row in rows[::every] if row[1].count(",") + 1 >= sources]


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "share"), [("feed_ips.txt.gz", 0.02), ("feed_domains.txt.gz", 0.002)])
def test_real_feeds_lose_few_entries(name: str, share: float) -> None:
    entries = feed(name, every=40)
    withheld = [indicator for indicator in entries if GUARD.screen(indicator).withheld]
    assert 0 < len(withheld) < share * len(entries)


@pytest.mark.real_data
def test_the_most_listed_addresses_are_often_scanners_and_withheld() -> None:
    entries = feed("feed_ips.txt.gz", every=1, sources=9)
    withheld = [indicator for indicator in entries if GUARD.screen(indicator).withheld]
    assert len(withheld) > 0.1 * len(entries)
