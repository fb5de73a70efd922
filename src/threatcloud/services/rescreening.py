"""Judging stored indicators anew, once the guard or the allowlist has changed."""

from collections.abc import Sequence

from threatcloud.domain.state import ANONYMISED_CODE, IndicatorState
from threatcloud.services.recording import judged
from threatcloud.services.screening import Screened, Screener, allowed
from threatcloud.storage import facts, feeds, indicators
from threatcloud.storage.driver import Transaction
from threatcloud.storage.names import Names
from threatcloud.storage.rollups import RollupChanges


def rescreen(tx: Transaction, names: Names, screener: Screener, keys: Sequence[bytes]) -> int:
    """Gives stored indicators the finding they would get if they came now, and what follows from it; how many changed.

    It asks what holds in this unit of work, not what whoever asked for it saw: to run it late, twice, or for an
    indicator that needs none changes nothing.
    """
    allowlist = names.allowlist.current(tx.db)
    found: list[tuple[IndicatorState, Screened]] = []
    for state in indicators.find_many(tx.db, keys, names).values():
        finding = screener.guard.screen(state.indicator, state.withheld_code == ANONYMISED_CODE)
        screened = Screened(finding.withheld, finding.needs_corroboration, state.country, state.asn)
        screened = allowed(allowlist, state.indicator, screened)
        code, name = screened.withheld[:2] if screened.withheld else (None, None)
        if (code, name, screened.cloud) != (state.withheld_code, state.withheld_list, state.cloud):
            found.append((state, screened))
    evidence = facts.evidence_of(tx.db, [state.pk for state, _ in found], names)
    moved = [(state, judged(state, screened, evidence.get(state.pk, []), tx.now)) for state, screened in found]
    rollups = RollupChanges()
    for old, new in moved:
        rollups.moved(old, new)
    rollups.apply(tx)
    indicators.update(tx, moved, names)
    feeds.record_changes(tx, moved)
    return len(moved)
