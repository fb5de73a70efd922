"""Reads patterns of STIX that compare one thing with one value: what feeds are full of. Others are not understood."""

import re
from typing import Final

_PATTERN: Final = re.compile(
    r"\s*\[\s*([a-z0-9-]+):([A-Za-z0-9_.'-]+)\s*(?:=|ISSUBSET)\s*'((?:[^'\\]|\\['\\])*)'\s*\]\s*\Z"
)
_VALUES: Final = {
    "ipv4-addr": "ip",
    "ipv6-addr": "ip",
    "domain-name": "domain",
    "url": "url",
    "email-addr": "email",
}


def read_pattern(pattern: str) -> tuple[str, str]:
    """The type and the value that a pattern looks for; ValueError for a pattern that says more, or something else."""
    found = _PATTERN.match(pattern)
    if found is None:
        raise ValueError("must be one comparison: [type:property = 'value']")
    kind, path, value = found[1], found[2], re.sub(r"\\(.)", r"\1", found[3])
    if kind == "file" and path.startswith("hashes."):
        return "hash", value
    if path != "value" or kind not in _VALUES:
        raise ValueError(f"{kind}:{path} is nothing that is reported here")
    return _VALUES[kind], value
