"""For ``ipset restore``: new sets are filled beside those in use and swapped with them, so no packet meets half a list.

Sets of other parameters than those that exist could not be swapped, so the parameters are the same in every version.
"""

from collections.abc import Sequence
from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.changes import Change, Delta, Versions, head, without_common
from threatcloud.formats.feeds.families import apart
from threatcloud.formats.feeds.format import Format, lines
from threatcloud.formats.feeds.snapshot import Snapshot

_MOST: Final = 4_194_304
_NAMES: Final = ("threat-cloud-4", "threat-cloud-6")


def write(snapshot: Snapshot) -> bytes:
    """The sets ``threat-cloud-4`` and ``threat-cloud-6``."""
    v4, v6 = apart(snapshot.values)
    return snapshot.header() + _set(_NAMES[0], "inet", v4) + _set(_NAMES[1], "inet6", v6)


def _set(name: str, family: str, values: list[str]) -> bytes:
    new = f"{name}-new"
    create = "".join(f"create {each} hash:net family {family} maxelem {_MOST} -exist\n" for each in (name, new))
    before = f"{create}flush {new}\n"
    return before.encode() + lines(values, f"add {new} ", " -exist") + f"swap {new} {name}\ndestroy {new}\n".encode()


def write_delta(changes: Sequence[Change], versions: Versions) -> bytes:
    """What is to be deleted from the sets and added to them; what is there or gone already is no error."""
    return b"".join(head(change, versions) + _commands(*without_common(change)) for change in changes)


def _commands(added: list[str], removed: list[str]) -> bytes:
    texts = [
        lines(own, f"{verb} {name} ", " -exist")
        for verb, values in (("del", removed), ("add", added))
        for name, own in zip(_NAMES, apart(values), strict=True)
    ]
    return b"".join(texts)


FORMAT: Final = Format(
    name="ipset",
    extension="ipset",
    description="for `ipset restore`: the sets `threat-cloud-4` and `threat-cloud-6`, filled anew and swapped",
    kinds=(IndicatorType.IP,),
    write=write,
    delta=Delta(write_delta),
    limits={IndicatorType.IP: _MOST},
)
