"""Public suffixes: the names below which others register (publicsuffix.org), from publicsuffixlist."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from publicsuffixlist import PSLFILE

_RULE: Final = 1
_WILDCARD: Final = 2
_EXCEPTION: Final = 4
_PRIVATE_BEGINS: Final = "===BEGIN PRIVATE DOMAINS==="


class Suffix(NamedTuple):
    """A public suffix; ``private``: of an owner who lets others in (github.io), not of a registry (co.uk)."""

    name: str
    private: bool


class Suffixes:
    """The rules of a Public Suffix List. A name no rule matches has no suffix: there is no implicit ``*``.

    Names are canonical: lower-case A-labels without a trailing dot. Rules are applied as in
    https://github.com/publicsuffix/list/wiki/Format, and ``*.ck`` makes ``ck`` itself a suffix too.
    """

    __slots__ = ("_private", "_rules")

    def __init__(self, lines: Iterable[str]) -> None:
        """The lines of a list in the format of publicsuffix.org."""
        self._rules: dict[str, int] = {}
        private: set[str] = set()
        in_private = False
        for line in lines:
            in_private = in_private or _PRIVATE_BEGINS in line
            words = line.split(None, 1)
            if words and not words[0].startswith("//"):
                name, kind = _parse_rule(words[0])
                self._rules[name] = self._rules.get(name, 0) | kind
                if in_private:
                    private.add(_rule_key(name, kind))
        self._private = frozenset(private)

    def is_public_suffix(self, name: str) -> bool:
        """Whether a name is a public suffix itself, ICANN or private."""
        return self._suffix_start(name)[0] == 0

    def registered_domain(self, name: str) -> str | None:
        """The public suffix of a name and the label before it; None for a suffix and if no rule matches."""
        start, _ = self._suffix_start(name)
        return name[name.rfind(".", 0, start - 1) + 1 :] if start > 0 else None

    def public_suffix(self, name: str) -> Suffix | None:
        """The public suffix a name lies under or is; None where no rule matches."""
        start, rule = self._suffix_start(name)
        return Suffix(name[start:], rule in self._private) if start >= 0 else None

    def _suffix_start(self, name: str) -> tuple[int, str]:
        """Where the suffix of a name starts (-1: none) and the key of the rule that says so."""
        rules = self._rules
        start, longer = 0, -1
        while True:
            candidate = name[start:]
            kind = rules.get(candidate)
            if kind is not None:
                if kind & _EXCEPTION:
                    return name.index(".", start) + 1, _rule_key(candidate, _EXCEPTION)
                if kind & _WILDCARD and longer >= 0:
                    return longer, _rule_key(candidate, _WILDCARD)
                return start, _rule_key(candidate, kind & _RULE or _WILDCARD)
            dot = name.find(".", start)
            if dot < 0:
                return -1, ""
            start, longer = dot + 1, start


def packaged_suffixes() -> Path:
    """The file of the packaged list."""
    return Path(PSLFILE)


def load_suffixes(path: Path | None = None) -> Suffixes:
    """The list in a file, or the packaged one; raises OSError or UnicodeError when it cannot be read."""
    with (path or packaged_suffixes()).open(encoding="utf-8") as lines:
        return Suffixes(lines)


def _parse_rule(rule: str) -> tuple[str, int]:
    kind = _EXCEPTION if rule.startswith("!") else _WILDCARD if rule.startswith("*.") else _RULE
    name = rule.lower().removeprefix("!").removeprefix("*.")
    return name if name.isascii() else name.encode("idna").decode(), kind


def _rule_key(name: str, kind: int) -> str:
    return f"*.{name}" if kind == _WILDCARD else name
