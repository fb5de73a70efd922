"""What lists say of an indicator, from its stored state."""

from threatcloud.domain.feed import FullEntry
from threatcloud.domain.state import IndicatorState
from threatcloud.domain.times import iso


def full_entry(state: IndicatorState) -> FullEntry:
    """The entry of a stored state, as a list would have it."""
    techniques = (state.metadata or {}).get("mitreIds", ())
    return FullEntry(
        state.indicator.value,
        state.reputation,
        state.category,
        iso(state.first_seen),
        iso(state.last_seen),
        round(state.confidence * 100),
        iso(state.updated_at),
        None if state.expires_at is None else iso(state.expires_at),
        state.tlp,
        tuple(id_ for id_ in techniques if isinstance(id_, str)),
    )
