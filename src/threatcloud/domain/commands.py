"""What an attacker's shell command names: URLs, and the hosts that a tool is told to talk to.

The command is split into words as a shell does (quotes, operators, redirections), never run. Text that is
itself a command is looked into a few layers deep: quoted arguments, substitutions, ``\\x68`` escapes and base64.
"""

import re
from binascii import Error, a2b_base64
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Final, NamedTuple

from threatcloud.domain.address import network_value
from threatcloud.domain.canonical.ip import is_ipv4
from threatcloud.domain.canonical.name import plain_name
from threatcloud.domain.canonical.url import SCHEMES
from threatcloud.domain.hosts import url_host
from threatcloud.domain.indicator import Indicator, IndicatorType, InvalidIndicator, canonical
from threatcloud.domain.special_addresses import special_range

MAX_COMMAND_CHARS: Final = 64 * 1024
MAX_OBSERVABLES: Final = 100
#: A shorter script (``uname -a``, ``id``) is run by everybody.
MIN_SEQUENCE_CHARS: Final = 24
#: What differs between two runs of one script: addresses, whole URLs, random names, numbers.
_VARYING: Final = re.compile(r"[a-z]+://\S+|[0-9a-f]{8,}|[0-9]+(?:\.[0-9]+)*", re.IGNORECASE)
_MAX_DEPTH: Final = 5


def sequence_digest(commands: Iterable[str]) -> str | None:
    """The same 16 hex digits for two runs of one script, wherever it fetched from; None for one that says too little.

    Numbers, addresses and URLs do not count, nor does white space.
    """
    lines = [" ".join(_VARYING.sub("#", command[:MAX_COMMAND_CHARS]).split()) for command in commands]
    text = "\n".join(line for line in lines if line)
    return blake2b(text.encode(), digest_size=8).hexdigest() if len(text) >= MIN_SEQUENCE_CHARS else None


class _Tool(NamedTuple):
    """How a program's arguments are read: its short options that take a value, and where the hosts stand.

    ``web``: each argument is a URL without its scheme. ``paths``: hosts are those of ``host:path``. Otherwise
    the first argument is the host. Values of ``hidden`` options tell of others than the host: a browser, a referrer.
    """

    valued: str = ""
    web: bool = False
    paths: bool = False
    hidden: str = ""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_FETCH: Final = _Tool("o", web=True)
_NETCAT: Final = _Tool("cegiopqswxIOPTVX")
_SSH: Final = "BbcDEeFIiJLlmOopQRSWw"
_TOOLS: Final = {
    "wget": _Tool("aABDeIilOoPQRtTUwX", web=True, hidden="U"),
    "curl": _Tool("AbcCdDeEFhHKmoPQrtTuUwxXyYz", web=True, hidden="AeH"),
    "fetch": _FETCH,
    "axel": _FETCH,
    "aria2c": _FETCH,
    "lwp-download": _FETCH,
    "tftp": _Tool("blmrRP"),
    "ftpget": _Tool("uPp"),
    "ftpput": _Tool("uPp"),
    "ftp": _Tool("P"),
    "nc": _NETCAT,
    "ncat": _NETCAT,
    "netcat": _NETCAT,
    "telnet": _Tool("abelnXS"),
    "ssh": _Tool(_SSH),
    "sftp": _Tool("BbcDFiJloPRSsX"),
    "scp": _Tool("cDFiJloPSX", paths=True),
    "rsync": _Tool("efTBM", paths=True),
}
#: Words that another command follows.
_BEFORE_A_TOOL: Final = _set(
    "! { busybox command do doas else env eval exec if nice nohup proxychains proxychains4 setsid sshpass sudo"
    " then time timeout toybox torsocks until while xargs"
)
#: Long options of wget and curl whose value is the next word, where it is not after a "=".
_LONG_VALUED: Final = _set(
    "body-data body-file connect-timeout cookie data data-binary data-raw directory-prefix form header limit-rate"
    " max-time method output output-document output-file password post-data post-file proxy referer request"
    " retry timeout tries upload-file user user-agent"
)
_LONG_HIDDEN: Final = frozenset({"header", "referer", "user-agent"})
#: Last labels that are a file's ending first: many are also top-level domains, and no argument tells which.
_FILE_ENDINGS: Final = _set(
    "arc arm arm4 asp aspx bash bat bin bot bz bz2 c cfg conf cpp css csv cgi dat db deb dll elf exe gif gz htm html"
    " ico ini jar jpeg jpg js json jsp log lua mips mpsl out pdf php pid pl png ppc py rar rb rpm service sh so spc"
    " sparc sql svg tar tgz tmp txt xml xz yaml yml zip zst"
)
#: RFC 6761, RFC 6762, RFC 8375, and what local networks use: names that mean something else in each network.
_LOCAL_ENDINGS: Final = frozenset({"arpa", "home", "internal", "invalid", "lan", "local", "localdomain", "localhost"})

_quoted: Final = r"'[^']*+(?:'|\Z)|\"(?:[^\"\\]|\\.)*+(?:\"|\Z)"
_token: Final = re.compile(
    rf"(?P<redirect>&>{{1,2}}|[<>]{{1,3}}&?)|(?P<operator>[;|&()`\r\n])|(?P<blank>\s)"
    rf"|(?P<quoted>{_quoted})|(?P<bare>(?:[^\s;|&()`<>'\"\\]|\\.)++|\\)",
    re.DOTALL,
)
_IFS: Final = re.compile(r"\\\n|\$IFS(?:\$[0-9])?|\$\{IFS[^}]{0,20}\}")
_bare_escape: Final = re.compile(r"\\([^x0-7])", re.DOTALL)
_quoted_escape: Final = re.compile(r'\\(["\\$`])')
_byte_escape: Final = re.compile(r"\\x([0-9a-f]{1,2})|\\0?([0-3]?[0-7]{2})", re.IGNORECASE)
_is_command: Final = re.compile(r"[\s;|&()`<>]").search
_url: Final = re.compile(f"(?:{'|'.join(re.escape(name) for name in sorted(SCHEMES, reverse=True))})://", re.IGNORECASE)
_socket: Final = re.compile(
    r"/dev/(?:tcp|udp)/([^/]{1,253})/|\b(?:tcp|udp|openssl)[46]?(?:-connect)?:([^:,]{1,253}):[0-9]", re.IGNORECASE
)
_connects: Final = re.compile(r"connect|socket|fsockopen", re.IGNORECASE).search
_before_comma: Final = re.compile(r"([0-9.]{7,15}),[0-9]{0,5}").fullmatch
_decodes: Final = re.compile(r"base64|b64|-enc\b|-e\b", re.IGNORECASE).search
_base64: Final = re.compile(r"[A-Za-z0-9+/]{16,}+")
_is_pattern: Final = re.compile(r"[${]").search
_assignment: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*+=").match
_is_top_level: Final = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]+").fullmatch
_web_parts: Final = re.compile(r"([^/:?#]+)(:[0-9]{1,5})?(?:[/?#].*)?", re.DOTALL).fullmatch


def observables(command: str) -> tuple[Indicator, ...]:
    """The URLs, domains and addresses a shell command names, in order of appearance, each once.

    At most ``MAX_OBSERVABLES``, from the first ``MAX_COMMAND_CHARS`` characters; empty when it names none. A
    URL is followed by its host; of a URL with a variable or braces in it (``http://192.0.2.1/$arch``) only the
    host is given. A bare name counts only where a tool expects a host. Special-purpose addresses, local names and
    URLs of either are left out.
    """
    return tuple(islice(_distinct(_of_text(command[:MAX_COMMAND_CHARS], 0)), MAX_OBSERVABLES))


def _distinct(indicators: Iterator[Indicator]) -> Iterator[Indicator]:
    seen: set[Indicator] = set()
    for indicator in indicators:
        if indicator not in seen:
            seen.add(indicator)
            yield indicator


class _Word(NamedTuple):
    """A word without its quotes, and whether a redirection stands before it, so that it is no argument."""

    text: str
    redirected: bool


def _of_text(text: str, depth: int) -> Iterator[Indicator]:
    text = _IFS.sub(lambda match: "" if match[0] == "\\\n" else " ", text)
    decodes, connects = _decodes(text) is not None, _connects(text) is not None
    for words in _commands(text):
        hosts = _arguments(words)
        for at, word in enumerate(words):
            if (tool := hosts.get(at)) is _HIDDEN:
                continue
            yield from _of_word(word.text, depth, decodes)
            if tool is not None:
                yield from _of_argument(word.text, tool)
            elif connects and (match := _before_comma(word.text)):
                yield from _host(match[1])


def _commands(text: str) -> Iterator[list[_Word]]:
    """The words of each simple command."""
    words: list[_Word] = []
    pieces: list[str] = []
    redirected = False
    for match in _token.finditer(text):
        kind = match.lastgroup
        if kind in {"quoted", "bare"}:
            pieces.append(_unquoted(match[0]))
            continue
        if pieces:
            words.append(_Word("".join(pieces), redirected))
            pieces, redirected = [], False
        if kind == "operator":
            if words:
                yield words
            words, redirected = [], False
        elif kind == "redirect":
            redirected = True
    if pieces:
        words.append(_Word("".join(pieces), redirected))
    if words:
        yield words


def _unquoted(piece: str) -> str:
    quote = piece[0]
    if quote not in "'\"":
        return _bare_escape.sub(r"\1", piece)
    inner = piece[1:-1] if len(piece) > 1 and piece[-1] == quote else piece[1:]
    return inner if quote == "'" else _quoted_escape.sub(r"\1", inner)


def _of_word(word: str, depth: int, decodes: bool) -> Iterator[Indicator]:
    """What any word names, whatever the command it stands in."""
    plain = _byte_escape.sub(_byte, word) if "\\" in word else word
    begins_url = _url.match(plain) is not None and not any(map(str.isspace, plain))
    if not begins_url and (plain != word or _is_command(plain)):
        if depth < _MAX_DEPTH:
            yield from _of_text(plain, depth + 1)
        return
    if match := _url.search(plain):
        yield from _of_url(plain[match.start() :].rstrip("'\",;]}"))
        return
    if match := _socket.search(plain):
        yield from _host(match[1] or match[2])
    if decodes and depth < _MAX_DEPTH:
        for match in _base64.finditer(plain):
            yield from _of_text(_decoded(match[0]), depth + 1)


def _byte(match: re.Match[str]) -> str:
    return chr(int(match[1], 16) if match[1] else int(match[2], 8))


def _decoded(base64: str) -> str:
    """The text in base64 whose padding may be missing; NULs go, and with them the difference to UTF-16."""
    try:
        data = a2b_base64(base64 + "=" * (-len(base64) % 4))
    except Error:
        return ""
    return data.replace(b"\0", b"").decode(errors="replace")


_HIDDEN: Final = _Tool()


def _arguments(words: list[_Word]) -> dict[int, _Tool]:
    """By their place, the words that are hosts of a tool, and as ``_HIDDEN`` those that are not to be read."""
    at = _tool_at(words)
    if at is None:
        return {}
    tool = _TOOLS[_program(words[at])]
    hosts: dict[int, _Tool] = {}
    places = iter(range(at + 1, len(words)))
    for place in places:
        text, redirected = words[place]
        if redirected:
            continue
        if len(text) > 1 and text[0] == "-":
            takes_next, hidden = _option(text, tool)
            if takes_next and (value := next(places, None)) is not None and hidden:
                hosts[value] = _HIDDEN
            continue
        hosts[place] = tool
        if not (tool.web or tool.paths):
            break
    return hosts


def _tool_at(words: list[_Word]) -> int | None:
    """Where the tool's own name stands: first, or after words such as ``sudo`` and ``NAME=value``."""
    prefixed = False
    for at, word in enumerate(words):
        program = _program(word)
        if program in _TOOLS:
            return at
        if program in _BEFORE_A_TOOL or _assignment(word.text):
            prefixed = True
        elif not (prefixed or word.redirected):
            return None
    return None


def _program(word: _Word) -> str:
    return word.text.rpartition("/")[2].lower()


def _option(text: str, tool: _Tool) -> tuple[bool, bool]:
    """Whether the next word is an option's value, and whether that value is not to be read."""
    if text.startswith("--"):
        name = text[2:]
        return tool.web and name in _LONG_VALUED, name in _LONG_HIDDEN
    at = next((at for at, letter in enumerate(text) if at and letter in tool.valued), None)
    if at is None or at + 1 < len(text):
        return False, False
    return True, text[at] in tool.hidden


def _of_argument(text: str, tool: _Tool) -> Iterator[Indicator]:
    if _url.search(text) or _is_command(text):
        return  # read already, as any word is
    if tool.web:
        yield from _of_web_address(text)
        return
    host, colon, _ = text.partition(":")
    if tool.paths and (not colon or "/" in host):
        return
    at_host = text if text.count(":") > 1 and not tool.paths else host
    user, _, host = at_host.rpartition("@")
    if user or tool.paths or not _is_file_name(host):
        yield from _host(host)


def _of_web_address(text: str) -> Iterator[Indicator]:
    """A URL without its scheme, and its host; a name alone may also be a file's, and then is nothing."""
    match = _web_parts(text)
    if not match or not _is_host(match[1]):
        return
    if match.end(1) < len(text):
        yield from _of_url(f"http://{text}")
    elif not _is_file_name(text):
        yield from _host(text)


def _of_url(text: str) -> Iterator[Indicator]:
    try:
        url = canonical(IndicatorType.URL, text)
    except InvalidIndicator:
        return
    host = _host_of(url)
    if host is not None:
        if not _is_pattern(text):
            yield url
        yield host


def _host(text: str) -> Iterator[Indicator]:
    """The indicator of a host written alone; nothing for what is none, or has only a local meaning."""
    if text.count(":") > 1:
        text = f"[{text.strip('[]')}]"
    elif not _is_host(text):
        return
    try:
        host = _host_of(canonical(IndicatorType.URL, f"http://{text}/"))
    except InvalidIndicator:
        return
    if host is not None:
        yield host


def _host_of(url: Indicator) -> Indicator | None:
    text, network, _ = url_host(url.value)
    if network is not None:
        return None if special_range(network) else Indicator(IndicatorType.IP, network_value(network))
    return Indicator(IndicatorType.DOMAIN, text) if _is_public_name(text) else None


def _is_host(text: str) -> bool:
    # The URL standard reads "4444" and "1.2" as addresses; a shell argument means them so only on purpose.
    return is_ipv4(text) is not None or _is_public_name(text)


def _is_public_name(text: str) -> bool:
    name = plain_name(text)
    if name is None:
        return False
    top = name.rpartition(".")[2]
    return _is_top_level(top) is not None and top not in _LOCAL_ENDINGS


def _is_file_name(text: str) -> bool:
    return text.rpartition(".")[2].lower() in _FILE_ENDINGS
