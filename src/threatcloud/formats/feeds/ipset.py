"""For ``ipset restore``: new sets are filled beside those in use and swapped with them, so no packet meets half a list.

Sets of other parameters than those that exist could not be swapped, so the parameters are the same in every version.
"""

from typing import Final

from threatcloud.domain.indicator import IndicatorType
from threatcloud.formats.feeds.families import apart
from threatcloud.formats.feeds.format import Format, Snapshot, lines

_MOST: Final = 4_194_304


def write(snapshot: Snapshot) -> bytes:
    """The sets ``threat-cloud-4`` and ``threat-cloud-6``."""
    v4, v6 = apart(snapshot.values)
    return snapshot.header() + _set("threat-cloud-4", "inet", v4) + _set("threat-cloud-6", "inet6", v6)


def _set(name: str, family: str, values: list[str]) -> bytes:
    new = f"{name}-new"
    create = "".join(f"create {each} hash:net family {family} maxelem {_MOST} -exist\n" for each in (name, new))
    before = f"{create}flush {new}\n"
    return before.encode() + lines(values, f"add {new} ", " -exist") + f"swap {new} {name}\ndestroy {new}\n".encode()


FORMAT: Final = Format(
    name="ipset",
    extension="ipset",
    description="for `ipset restore`: the sets `threat-cloud-4` and `threat-cloud-6`, filled anew and swapped",
    kinds=(IndicatorType.IP,),
    write=write,
    limits={IndicatorType.IP: _MOST},
)
