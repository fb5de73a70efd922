"""Lists of others that are fetched regularly: when, what is suspicious about one, and what it is worth."""

from enum import StrEnum
from typing import Final, NamedTuple

from threatcloud.domain.times import DAY_MS, HOUR_MS, MINUTE_MS

MIN_EVERY_MS: Final = MINUTE_MS
MAX_EVERY_MS: Final = 30 * DAY_MS
#: Lists that never had more are not held: they double and halve all the time.
SMALL_ENTRIES: Final = 100
#: Without a change a list is taken up anew this often, before its listings begin to age (after seven days).
RENEW_MS: Final = 3 * DAY_MS
_RETRY_MS: Final = 5 * MINUTE_MS
#: The same for so many turns, and for so long at least: nobody tends it any more.
_STILL_TURNS: Final = 30
_STILL_MS: Final = 14 * DAY_MS


class SourceState(StrEnum):
    """How a source stands: not polled yet; good; its last poll failed; nothing new for long; its effect held back."""

    NEW = "new"
    GOOD = "good"
    FAILING = "failing"
    SILENT = "silent"
    HELD = "held"


class Terms(NamedTuple):
    """How a source is read, and what holds for its values unless they say otherwise; format None: found out."""

    every_ms: int
    format: str | None = None
    type: str | None = None
    category: str | None = None
    severity: str | None = None
    confidence: float = 0.7


class Known(NamedTuple):
    """What is known of a source. Times are 0 for never; ``entries`` to ``dropped`` are of the last list taken up.

    ``base`` and ``base_at``: its entries at the beginning of the day that sizes are compared over. ``held_why``: why
    the newest list, of ``held_entries``, was not taken up. ``confirmed``: an operator wants the next one as it is.
    """

    checked_at: int = 0
    answered_at: int = 0
    changed_at: int = 0
    applied_at: int = 0
    etag: str = ""
    modified: str = ""
    digest: str = ""
    entries: int = 0
    rejected: int = 0
    new: int = 0
    dropped: int = 0
    base: int = 0
    base_at: int = 0
    failures: int = 0
    problem: str | None = None
    held_since: int | None = None
    held_entries: int = 0
    held_why: str | None = None
    confirmed: bool = False


class Figures(NamedTuple):
    """What a source lists now beside others. ``shared``: also on another list; ``first``: of these, listed here before
    the others; ``withheld``: what benign lists or the allowlist vouch for; ``lead_ms``: over all shared ones, by how
    much it was earlier than the others on average."""

    listed: int = 0
    shared: int = 0
    first: int = 0
    withheld: int = 0
    lead_ms: int = 0


def why_held(known: Known, entries: int) -> str | None:
    """Why a new list is not to be taken up, in words; None: it is. What was confirmed is, and so is a first one."""
    if known.confirmed or not known.applied_at:
        return None
    base = max(known.base, 1)
    if max(known.base, entries) <= SMALL_ENTRIES and entries:
        return None
    if not entries:
        return f"it is empty, and had {known.entries:,} entries" if known.entries else None
    if entries > 2 * base:
        return f"it has {entries:,} entries, over twice the {known.base:,} it had within a day"
    if 2 * entries < base:
        return f"it has {entries:,} entries, less than half of the {known.base:,} it had within a day"
    return None


def taken_up(known: Known, now: int, entries: int) -> Known:
    """What is known after a list of so many entries was taken up; the day sizes are compared over may begin anew."""
    begins = known.confirmed or not known.base_at or now - known.base_at >= DAY_MS
    base, base_at = (entries, now) if begins else (known.base, known.base_at)
    return known._replace(
        applied_at=now,
        entries=entries,
        base=base,
        base_at=base_at,
        held_since=None,
        held_entries=0,
        held_why=None,
        confirmed=False,
    )


def state_of(known: Known, every_ms: int, created_at: int, now: int) -> SourceState:
    """How a source stands."""
    if known.held_since is not None:
        return SourceState.HELD
    if now - max(known.answered_at, created_at) > max(3 * every_ms, DAY_MS):
        return SourceState.SILENT
    if known.changed_at and now - known.changed_at > max(_STILL_TURNS * every_ms, _STILL_MS):
        return SourceState.SILENT
    if known.failures:
        return SourceState.FAILING
    return SourceState.GOOD if known.checked_at else SourceState.NEW


def wait_ms(every_ms: int, failures: int, chance: float) -> int:
    """How long until the next poll: as often as was asked for, after a failure sooner at first and never later. A tenth
    is left to ``chance``, from 0 to 1, so that not all lists of one server are fetched at once."""
    wait = every_ms if not failures else min(every_ms, _RETRY_MS << min(failures - 1, 10))
    return wait - int(wait * chance / 10)


def share(part: int, whole: int) -> float | None:
    """A share to four places; None of nothing."""
    return round(part / whole, 4) if whole else None


def lead_hours(figures: Figures) -> float | None:
    """By how many hours a source was earlier than others on average; None where it shares nothing."""
    return round(figures.lead_ms / figures.shared / HOUR_MS, 2) if figures.shared else None
