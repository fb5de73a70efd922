"""Datasets of Suricata: names in Base64, which a set of the type string is read from, or hashes of one type."""

from base64 import b64encode
from typing import Final

from threatcloud.domain.canonical.ids import HASH_NAMES
from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import by_line
from threatcloud.formats.feeds.format import Format, Refusal, lines
from threatcloud.formats.feeds.snapshot import Snapshot


def write_names(snapshot: Snapshot) -> bytes:
    """The names in Base64."""
    return lines([b64encode(value.encode()).decode() for value in snapshot.values])


def write_hashes(snapshot: Snapshot) -> bytes:
    """The hashes."""
    return lines(snapshot.values)


def _of_hashes(name: str, extension: str, algorithm: str) -> Format:
    return Format(
        name=name,
        extension=extension,
        description=f"a dataset of Suricata of the type {extension}",
        kinds=(IndicatorType.HASH,),
        write=write_hashes,
        delta=by_line(write_hashes),
        refusals=(Refusal(f"not {algorithm}", lambda value: HASH_NAMES[len(value)] != algorithm),),
    )


FORMAT: Final = Format(
    name="suricata-names",
    extension="lst",
    description="a dataset of Suricata of the type string, for `dns.query` or `tls.sni`",
    kinds=(IndicatorType.DOMAIN,),
    write=write_names,
    delta=by_line(write_names),
)
FORMAT_SHA256: Final = _of_hashes("suricata-sha256", "sha256", "SHA-256")
FORMAT_MD5: Final = _of_hashes("suricata-md5", "md5", "MD5")
