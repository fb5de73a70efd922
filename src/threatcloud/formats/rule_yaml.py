"""The check of rule content: YAML 1.1 that can be read without running code, without growing, and in one way only.

Only the events of the parser are looked at; no value is ever made of them, so no constructor runs.
"""

from collections.abc import Iterator
from typing import Any, Final

import yaml

MAX_RULE_BYTES: Final = 64 * 1024
MAX_RULE_DEPTH: Final = 32
#: libyaml where PyYAML has it: 64 KiB of short values take 40 ms, and fifteen times that without.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BadRule(ValueError):
    """Content that is no rule; its text is a reason that begins with a verb."""


def check_rule_yaml(content: str) -> str:
    """The content itself, when it is a rule.

    That is: 1 byte to 64 KiB of UTF-8, one YAML document, a mapping at its root, at most 32 levels, keys that are
    plain values and unique in their mapping (YAML 1.2.2 section 3.2.1.3), no anchor, alias, tag or merge key. Raises
    BadRule, and nothing else, for all others.
    """
    _check_text(content)
    shape = _Shape()
    try:
        for event in _events(content):
            shape.take(event)
    except yaml.YAMLError as error:
        raise BadRule(f"is not valid YAML: {_where(error)}") from None
    shape.finish()
    return content


def _check_text(content: str) -> None:
    try:
        size = len(content.encode())
    except UnicodeEncodeError:
        raise BadRule("holds half of a surrogate pair, which is no character") from None
    if size > MAX_RULE_BYTES:
        raise BadRule(f"must not be larger than {MAX_RULE_BYTES} bytes as UTF-8; it has {size}")
    if "\0" in content:
        raise BadRule("must not hold NUL characters")
    if "\ufeff" in content:  # parsers do not agree on what it means within a document
        raise BadRule("must not hold byte order marks (U+FEFF)")


def _events(content: str) -> Iterator[Any]:
    loader = _LOADER(content)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _where(error: Exception) -> str:
    """What the parser says, and the line counted from 1."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    mark = getattr(error, "problem_mark", None)
    return f"{problem} (line {mark.line + 1})" if mark is not None else str(problem)


class _Level:
    """A collection that is open: the keys a mapping has so far (None: a sequence), and whether a key is due."""

    __slots__ = ("key_is_due", "keys")

    def __init__(self, is_mapping: bool) -> None:
        self.keys: set[str] | None = set() if is_mapping else None
        self.key_is_due = is_mapping


class _Shape:
    """Follows the events of a document and refuses what a rule must not have."""

    def __init__(self) -> None:
        self._open: list[_Level] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        """The next event; BadRule when it must not be there."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.AliasEvent):
            raise BadRule(f"must not hold aliases (*){_line(event)}")
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()

    def finish(self) -> None:
        """BadRule when there was no document."""
        if not self._documents:
            raise BadRule("is empty; a rule is a YAML mapping")

    def _begin(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise BadRule(f"must be a single YAML document{_line(event)}")
        if event.tags or event.version:
            raise BadRule(f"must not hold directives (%){_line(event)}")

    def _node(self, event: Any) -> None:
        if event.anchor is not None:
            raise BadRule(f"must not hold anchors (&){_line(event)}")
        if event.tag is not None:
            raise BadRule(f"must not hold tags (!){_line(event)}")
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if self._open:
            self._place(event)
        elif not is_mapping:
            raise BadRule("must be a mapping of names to values")
        if isinstance(event, yaml.CollectionStartEvent):
            if len(self._open) == MAX_RULE_DEPTH:
                raise BadRule(f"must not be nested deeper than {MAX_RULE_DEPTH} levels{_line(event)}")
            self._open.append(_Level(is_mapping))

    def _place(self, event: Any) -> None:
        """Takes a node as a key or a value of the collection it is in."""
        level = self._open[-1]
        if level.keys is None:
            return
        if level.key_is_due:
            _add_key(level.keys, event)
        level.key_is_due = not level.key_is_due


def _add_key(keys: set[str], event: Any) -> None:
    if not isinstance(event, yaml.ScalarEvent):
        raise BadRule(f"must not use a list or a mapping as a key{_line(event)}")
    if event.value == "<<" and event.implicit[0]:
        raise BadRule(f"must not hold merge keys (<<){_line(event)}")
    if event.value in keys:
        raise BadRule(f"has a key twice in one mapping{_line(event)}")
    keys.add(event.value)


def _line(event: Any) -> str:
    return f" (line {event.start_mark.line + 1})"
