"""What is judged and named by, loaded from packaged data and the operator's files; what is missing is logged."""

from types import MappingProxyType
from typing import Any, Final

import structlog

from threatcloud.config import Settings
from threatcloud.domain.publication import Guard
from threatcloud.enrich.attack import AttackCatalog, load_attack
from threatcloud.enrich.geo import Locator, load_locator
from threatcloud.enrich.guard import LoadedGuard, load_guard
from threatcloud.services.screening import Screener

_log = structlog.get_logger("loading")


def _load_whole_guard(settings: Settings) -> LoadedGuard:
    """Where a process has a place of its own, the benign lists are kept there: making them takes most of a second."""
    own = sorted(settings.benign_lists.glob("*.txt")) if settings.benign_lists else []
    place = settings.own_path
    has_place = place.exists() if settings.database_url is None else place.parent.exists()
    kept = place.with_name(f"{place.name}.benign") if has_place else None
    loaded = load_guard(own, kept=kept)
    if loaded.missing:
        _log.warning("degraded: benign lists are missing", lists=loaded.missing)
    for problem in loaded.problems:
        _log.warning("own benign list", problem=problem)
    return loaded


def _load_guard(settings: Settings) -> Guard:
    return _load_whole_guard(settings).guard


def _load_locator(settings: Settings) -> Locator:
    return load_locator(settings.geo_db, settings.asn_db)


def _load_attack(settings: Settings) -> AttackCatalog:
    attack = load_attack(settings.attack_file)
    if attack.problem:
        _log.warning("degraded: no ATT&CK names", problem=attack.problem)
    return attack


def make_screener(settings: Settings) -> Screener:
    """The guard, the locator and ATT&CK."""
    loaded = _load_whole_guard(settings)
    return Screener(loaded.guard, _load_locator(settings), _load_attack(settings), loaded.missing)


class LateScreener(Screener):
    """A screener of which each part is loaded when it is first asked for: most commands need none, a process that only
    reads needs the names of ATT&CK and not the benign lists, which take most of its memory."""

    _LOADERS: Final = MappingProxyType({"guard": _load_guard, "locator": _load_locator, "attack": _load_attack})

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        if name not in self._LOADERS:
            raise AttributeError(name)
        part = vars(self)[name] = self._LOADERS[name](self._settings)
        return part
