"""The lists that every format is tried on, and the text that each makes of them: the golden files beside this one.

    .venv/bin/python -m tests.formats.feeds.lists

writes the golden files anew; look at what it changed.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from threatcloud.domain.feed import Detail, FeedEntry, FullEntry
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import DAY_MS, MINUTE_MS, iso
from threatcloud.formats.feeds import FORMATS, Format, Snapshot, render

GOLDEN = Path(__file__).parent / "golden"
AT = 1_772_871_300_000  # 2026-03-07T08:15:00Z
RTL = "\u202e"
#: What no value can be, since values are stored in canonical form; a format has to bear it all the same.
HOSTILE = (
    "198.51.100.66\n198.51.100.67",
    "198.51.100.66; flush ruleset",
    '198.51.100.66" }',
    "198.51.100.66|sh",
    "198.51.100.66 # all",
    "-o/etc/passwd",
    "=cmd()",
    "../../etc/passwd",
    "bad.example\r\nevil.example",
    'bad.example" static\nlocal-data: "bank.example A 192.0.2.1',
    "bad.example/#/\nserver=/#/192.0.2.66",
    "$INCLUDE /etc/shadow",
    "bad\x00.example",
    "bad\x1b[2J.example",
    f"bad{RTL}elpmaxe.example",
    "bäd.example",
    "*",
    ".",
    "",
    "http://bad.example/\n127.0.0.1",
    "http://bad.example/\tx",
    f"http://bad.example/{RTL}gpj.exe",
    "http://bad.example/\x7f",
    f"http://bad.example/{'a' * 60_000}",
)
GOOD = {
    IndicatorType.IP: (
        "198.51.100.7",
        "203.0.113.0/24",
        "2001:db8::7",
        "203.0.113.9",
        "198.51.100.0",
        "2001:db8:1::/48",
        "198.18.0.0/32",
    ),
    IndicatorType.DOMAIN: (
        "bad.example",
        "_dmarc.worse.example",
        "xn--bd-via.example",
        "xn--bd-via.xn--p1ai",
        f"{'a' * 63}.{'b' * 63}.{'c' * 63}.example",
        "127.0.0.1.rpz-ip",
    ),
    IndicatorType.HASH: ("ab" * 16, "01" * 20, "cd" * 32, "ef" * 64),
    IndicatorType.URL: (
        "http://bad.example/x",
        "https://bad.example:8443/login.php?user=a&next=%2Fhome",
        "http://user:secret@bad.example/",
        "http://198.51.100.7/a;b|c'd,e:f*g$h",
        "http://[2001:db8::7]/x",
        "ftp://bad.example/malware.exe",
        "http://bad.example/%22%3Cscript%3E",
        f"http://bad.example/{'a' * 2_000}",
        "http://bad.example/" + "$(reboot)`reboot`\\\"';--",
    ),
}
CATEGORIES = (None, "c2", "malware", "phishing", "bruteforce")


def snapshot(kind: IndicatorType, values: tuple[str, ...]) -> Snapshot:
    """A list of these values, the worst first."""
    entries = [
        FeedEntry(value, index % 31, CATEGORIES[index % 5], iso(AT - DAY_MS * (index + 1)), iso(AT - MINUTE_MS * index))
        for index, value in enumerate(values)
    ]
    full = [
        FullEntry(
            *entry,
            90 - index,
            iso(AT - MINUTE_MS),
            iso(AT + DAY_MS * index) if index % 2 else None,
            (None, "green", "clear", "amber+strict")[index % 4],
            (("T1110.001", "no id"), ())[index % 2],
        )
        for index, entry in enumerate(entries)
    ]
    return Snapshot(kind, AT, values, entries, full)


def lines_of(format_: Format, kind: IndicatorType, values: tuple[str, ...]) -> bytes:
    """Values as the database gives them to a format."""
    made = snapshot(kind, values)
    rows: dict[Detail, Sequence[Sequence[object]]] = {Detail.ENTRY: made.entries, Detail.FULL: made.full}
    texts = ["\t".join(map(_text, row)) for row in rows.get(format_.detail, ())] or values
    return "".join(f"{text}\n" for text in texts).encode()


def _text(field: object) -> str:
    if isinstance(field, tuple):
        return json.dumps(field)
    return "" if field is None else str(field)


def lists() -> Iterator[tuple[Format, IndicatorType, Path]]:
    """Every format with every type that it can say, and where its golden file is."""
    for format_ in FORMATS:
        for kind in format_.kinds:
            yield format_, kind, GOLDEN / f"{format_.name}.{kind}"


def rendered(format_: Format, kind: IndicatorType) -> bytes:
    """Good and hostile values of a type in a format."""
    return render(format_, snapshot(kind, GOOD[kind] + HOSTILE)).body


def main() -> None:
    """Writes the golden files."""
    for path in GOLDEN.iterdir():
        path.unlink()
    for format_, kind, path in lists():
        path.write_bytes(rendered(format_, kind))


if __name__ == "__main__":
    main()
