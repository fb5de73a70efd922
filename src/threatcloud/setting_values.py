"""How the text of a setting becomes its value. Each raises ValueError or KeyError for a text that cannot be read."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from threatcloud.domain.access import KeyEntry, parse_key_entry

Networks = tuple[IPv4Network | IPv6Network, ...]


def boolean(text: str) -> bool:
    """True or false, by any of the usual words."""
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.strip().lower()]


def integer(low: int, high: int) -> Callable[[str], int]:
    """Reads a whole number between two, both included."""

    def read(text: str) -> int:
        number = int(text.strip())
        if not low <= number <= high:
            raise ValueError
        return number

    return read


def one_of(*words: str) -> Callable[[str], str]:
    """Reads one of these words, in any case."""

    def read(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError
        return text.strip().lower()

    return read


def host(text: str) -> str:
    """A host to listen on."""
    if not text.strip() or any(character.isspace() for character in text.strip()):
        raise ValueError
    return text.strip()


def path(text: str) -> Path:
    """A path that is no folder."""
    found = Path(text.strip()).expanduser()
    if not text.strip() or found.is_dir():
        raise ValueError
    return found


def database_url(text: str) -> str | None:
    """The address of a PostgreSQL database; None for none."""
    url = text.strip()
    if url and urlsplit(url).scheme not in {"postgresql", "postgres"}:
        raise ValueError
    return url or None


def optional_file(text: str) -> Path | None:
    """A file that exists; None for none."""
    if not text.strip():
        return None
    found = path(text)
    if not found.exists():
        raise ValueError
    return found


def optional_folder(text: str) -> Path | None:
    """A folder that exists; None for none."""
    if not text.strip():
        return None
    found = Path(text.strip()).expanduser()
    if not found.is_dir():
        raise ValueError
    return found


def optional_path(text: str) -> Path | None:
    """A path that is no folder; None for none."""
    return path(text) if text.strip() else None


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def networks(text: str) -> Networks:
    """Networks, comma separated."""
    return tuple(ip_network(item, strict=False) for item in _items(text))


def api_keys(text: str) -> tuple[KeyEntry, ...]:
    """Keys, comma separated."""
    return tuple(parse_key_entry(item) for item in _items(text))


def origins(text: str) -> tuple[str, ...]:
    """Origins, comma separated, or ``*``."""
    found = tuple(_items(text))
    for origin in found:
        scheme, _, rest = origin.partition("://")
        if origin != "*" and (scheme not in {"http", "https"} or not rest or "/" in rest):
            raise ValueError
    return found


def redis_url(text: str) -> str | None:
    """The address of a Redis; None for none."""
    url = text.strip()
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError
    return url or None
