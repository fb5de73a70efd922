"""Rules of YARA that match files by their hash. A rule holds so many hashes as a condition may have terms."""

from collections.abc import Sequence
from typing import Final

from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.indicator import IndicatorType
from threatcloud.domain.times import iso
from threatcloud.formats.feeds.format import Format, Refusal
from threatcloud.formats.feeds.snapshot import Snapshot

_PER_RULE: Final = 1_000


def write(snapshot: Snapshot) -> bytes:
    """``threat_cloud_1`` and so on."""
    rules = [
        _rule(begin // _PER_RULE + 1, snapshot.generated_at, snapshot.values[begin : begin + _PER_RULE])
        for begin in range(0, len(snapshot.values), _PER_RULE)
    ]
    return snapshot.header("//") + "".join(('import "hash"\n', *rules)).encode()


def _rule(number: int, generated_at: int, values: Sequence[str]) -> str:
    meta = f'description = "Files on the blocklist of Threat Cloud"\n    date = "{iso(generated_at)[:10]}"'
    terms = " or\n    ".join(f'hash.{_function(value)}(0, filesize) == "{value}"' for value in values)
    return f"\nrule threat_cloud_{number}\n{{\n  meta:\n    {meta}\n  condition:\n    {terms}\n}}\n"


def _function(value: str) -> str:
    return HASH_NAMES[len(value)].replace("-", "").lower()


FORMAT: Final = Format(
    name="yara",
    extension="yar",
    description="rules of YARA that match files by their hash (module `hash`)",
    kinds=(IndicatorType.HASH,),
    write=write,
    refusals=(Refusal("SHA-512", lambda value: HASH_NAMES[len(value)] == "SHA-512"),),
)
