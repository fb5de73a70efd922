"""Content negotiation by Accept (RFC 9110 section 12.5.1)."""

from collections.abc import Sequence
from functools import lru_cache


def _parts(text: str) -> tuple[str, frozenset[str]]:
    """A media type or range, and its parameters, in lower case and without white space."""
    name, *parameters = (part.strip().lower().replace('"', "") for part in text.split(";"))
    return name, frozenset(parameter.replace(" ", "") for parameter in parameters if parameter)


@lru_cache(maxsize=256)  # of forty types 120 us, and clients say the same each time
def choose_media(accept: str, offered: tuple[str, ...]) -> str | None:
    """What the client takes best of the media types there are, the first of several equal ones; None if it takes none.

    Parameters of a range have to be those of the type, but for the weight ``q`` and ``charset``, which is always UTF-8.
    """
    ranges = [_weighed(item) for item in accept.split(",") if item.strip()]
    best, most = None, 0.0
    for media in offered:
        weight = _weight(media, ranges)
        if weight > most:
            best, most = media, weight
    return best


def _weighed(item: str) -> tuple[str, frozenset[str], float]:
    name, parameters = _parts(item)
    weights = [parameter[2:] for parameter in parameters if parameter.startswith("q=")]
    try:
        weight = float(weights[0]) if weights else 1.0
    except ValueError:
        weight = 0.0
    return name, frozenset(own for own in parameters if not own.startswith(("q=", "charset="))), weight


def _weight(media: str, ranges: Sequence[tuple[str, frozenset[str], float]]) -> float:
    """The weight of the range that says most of a media type; 0 where none is about it."""
    name, parameters = _parts(media)
    family = name.partition("/")[0] + "/*"
    found = [
        ((own == name) * 2 + (own == family), len(wanted), weight)
        for own, wanted, weight in ranges
        if own in (name, family, "*/*") and wanted <= parameters
    ]
    return max(found)[2] if found else 0.0
