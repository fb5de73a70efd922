"""Patterns of STIX 2.0 and 2.1, parsed by their grammar.

Source: STIX 2.1 part 9 (patterning), with what real bundles write beside it: names of hashes in any case and without
quotes (``file:hashes.SHA256``), which 2.0 allowed. Not a matter of searching for quoted texts: a value that is negated,
or only like something, is no indicator.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_PATTERN_CHARS: Final = 256 * 1024
_MAX_DEPTH: Final = 64


class PatternError(ValueError):
    """The text is no pattern; says what was wanted, and at which character."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``path operator values``, of one type of object; ``negated`` by NOT before the operator, or by ``!=``."""

    object_type: str
    path: str
    operator: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Combined:
    """Parts joined by ``AND``, ``OR`` or ``FOLLOWEDBY``; comparisons or, above them, observations."""

    operator: str
    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Observation:
    """What stands between square brackets."""

    expression: "Node"


@dataclass(frozen=True, slots=True)
class Qualified:
    """An observation with ``WITHIN``, ``REPEATS`` or ``START``…``STOP``."""

    part: "Node"
    qualifier: str


Node = Comparison | Combined | Observation | Qualified


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<text>[hbt]?'(?:[^'\\]|\\.)*')
    | (?P<number>[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?![\w-]))
    | (?P<word>[A-Za-z_][\w-]*)
    | (?P<operator><=|>=|!=|<>|==|[=<>])
    | (?P<mark>[\[\]().:,*])
    | (?P<digits>\d[\w-]*)
    )""",
    re.VERBOSE | re.DOTALL,
)
#: A text that a value is equal to, as nearly all patterns have it: the type of the object, the path, which may end in
#: quotation marks, and the text.
_TYPE: Final = r"(?!EXISTS:)[A-Za-z][\w-]*"
_PATH: Final = r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*(?:\.(?=')|(?!\.))"
_BARE: Final = r"[^'\\]*"
_PARTS: Final = rf"({_TYPE}):({_PATH})(?:(?<=\.)'({_BARE})')?\s*=\s*'({_BARE})'"
_EQUAL: Final = rf"{_TYPE}:{_PATH}(?:(?<=\.)'{_BARE}')?\s*=\s*'{_BARE}'"
_parts_of_each: Final = re.compile(_PARTS).findall
#: The forms for which the whole grammar takes ten times as long: one of these, or several that are joined alike.
_simple: Final = re.compile(rf"\s*\[\s*{_PARTS}\s*\]\s*").fullmatch
_alike: Final = re.compile(
    rf"\s*\[\s*{_EQUAL}(?:\s*(OR|AND)\s+{_EQUAL}(?:\s*\1\s+{_EQUAL})*"
    rf"|\s*\]\s*(OR|AND)\s*\[\s*{_EQUAL}(?:\s*\]\s*\2\s*\[\s*{_EQUAL})*)\s*\]\s*"
).fullmatch
_COMPARING: Final = frozenset({"=", "==", "!=", "<>", "<", "<=", ">", ">="})
_WORD_OPERATORS: Final = frozenset({"LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET"})


def parse(text: str) -> Node:
    """The pattern a text spells. Raises PatternError."""
    if len(text) > MAX_PATTERN_CHARS:
        raise PatternError(f"is longer than {MAX_PATTERN_CHARS} characters")
    if (simple := _simple(text)) is not None:
        return Observation(_equal(*simple.groups("")))
    return _alike_joined(text) or by_grammar(text)


def by_grammar(text: str) -> Node:
    """The same of any pattern, by the whole grammar. Raises PatternError."""
    return _Parser(text).pattern()


def comparisons(node: Node) -> Iterator[Comparison]:
    """Every comparison in a pattern, in order."""
    if isinstance(node, Comparison):
        yield node
    elif isinstance(node, Combined):
        for part in node.parts:
            yield from comparisons(part)
    else:
        yield from comparisons(node.expression if isinstance(node, Observation) else node.part)


def _alike_joined(text: str) -> Node | None:
    """The pattern that a text spells, if it is of values that are equal, all within brackets or each in its own."""
    found = _alike(text)
    if found is None:
        return None
    parts = tuple(_equal(*one) for one in _parts_of_each(text))
    within, between = found.groups()
    return Observation(Combined(within, parts)) if within else Combined(between, tuple(map(Observation, parts)))


def _equal(object_type: str, path: str, quoted: str, value: str) -> Comparison:
    return Comparison(object_type, path + quoted, "=", (value,))


class _Parser:
    """By recursive descent, a method for each rule of the grammar; AND binds closer than OR, OR than FOLLOWEDBY."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def pattern(self) -> Node:
        found = self._joined(("FOLLOWEDBY", "OR", "AND"), self._observation)
        if self._peek().kind != "end":
            raise self._failed("the end of the pattern")
        return found

    def _joined(self, operators: tuple[str, ...], operand: object) -> Node:
        """Operands joined by the operators, the loosest first."""
        if not operators:
            found: Node = operand()  # type: ignore[operator]
            return found
        parts = [self._joined(operators[1:], operand)]
        while self._takes(operators[0]):
            parts.append(self._joined(operators[1:], operand))
        return parts[0] if len(parts) == 1 else Combined(operators[0], tuple(parts))

    def _observation(self) -> Node:
        self._deeper()
        if self._takes("("):
            found = self._joined(("FOLLOWEDBY", "OR", "AND"), self._observation)
            self._wants(")")
        else:
            self._wants("[")
            found = Observation(self._joined(("OR", "AND"), self._comparison))
            self._wants("]")
        self._depth -= 1
        while (qualifier := self._qualifier()) is not None:
            found = Qualified(found, qualifier)
        return found

    def _qualifier(self) -> str | None:
        if self._takes("WITHIN"):
            return f"WITHIN {self._literal()} {self._keyword('SECONDS')}"
        if self._takes("REPEATS"):
            return f"REPEATS {self._literal()} {self._keyword('TIMES')}"
        if self._takes("START"):
            start = self._literal()
            return f"START {start} {self._keyword('STOP')} {self._literal()}"
        return None

    def _comparison(self) -> Node:
        self._deeper()
        try:
            if self._takes("("):
                found = self._joined(("OR", "AND"), self._comparison)
                self._wants(")")
                return found
            if self._takes("EXISTS"):
                return Comparison(*self._path(), "EXISTS", ())
            place = self._path()
            negated = self._takes("NOT")
            return self._compared(place, negated)
        finally:
            self._depth -= 1

    def _compared(self, place: tuple[str, str], negated: bool) -> Comparison:
        token = self._take()
        word = token.text.upper()
        if token.kind == "operator" and word in _COMPARING:
            same = {"==": "=", "<>": "!="}.get(word, word)
            return Comparison(*place, "=" if same == "!=" else same, (self._literal(),), negated ^ (same == "!="))
        if word == "IN":
            return Comparison(*place, "IN", self._set(), negated)
        if word in _WORD_OPERATORS:
            return Comparison(*place, word, (self._literal(),), negated)
        raise self._failed("an operator", token)

    def _set(self) -> tuple[str, ...]:
        self._wants("(")
        values: list[str] = []
        while not self._takes(")"):
            values.append(self._literal())
            if not self._takes(","):
                self._wants(")")
                break
        return tuple(values)

    def _path(self) -> tuple[str, str]:
        """The object type, and the path below it as it is written."""
        token = self._take()
        if token.kind not in ("word", "digits"):
            raise self._failed("the path of an object", token)
        self._wants(":")
        steps = [self._step()]
        while True:
            if self._takes("."):
                steps.append("." + self._step())
            elif self._takes("["):
                index = self._take().text
                self._wants("]")
                steps.append(f"[{index}]")
            else:
                return token.text, "".join(steps)

    def _step(self) -> str:
        token = self._take()
        if token.kind == "text":
            return _unquoted(token.text)
        if token.kind not in ("word", "digits", "number"):
            raise self._failed("a property", token)
        return token.text

    def _literal(self) -> str:
        token = self._take()
        if token.kind == "text":
            return _unquoted(token.text)
        if token.kind == "number" or token.text.lower() in ("true", "false"):
            return token.text
        raise self._failed("a value", token)

    def _keyword(self, word: str) -> str:
        self._wants(word)
        return word

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _takes(self, text: str) -> bool:
        token = self._peek()
        if token.kind in ("mark", "word") and token.text == text:
            self._next += 1
            return True
        return False

    def _wants(self, text: str) -> None:
        if not self._takes(text):
            raise self._failed(text)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._failed(f"at most {_MAX_DEPTH} brackets within each other")

    def _failed(self, wanted: str, token: _Token | None = None) -> PatternError:
        token = token or self._peek()
        return PatternError(f"wants {wanted} at character {token.at + 1}")


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise PatternError(f"wants something else at character {at + 1}")
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    tokens.append(_Token("end", "", len(text)))
    return tokens


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[text.index("'") + 1 : -1], flags=re.DOTALL)
