"""Every setting once: name, environment variable, default, unit and help.

A value is taken from the command line, else the environment, else ``threat-cloud.toml``, else the default here. The
table in docs/operations.md is made from ``SETTINGS``.
"""

import difflib
import hashlib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

from threatcloud import setting_values
from threatcloud.domain.access import KeyEntry
from threatcloud.domain.errors import DomainError
from threatcloud.setting_values import Networks

CONFIG_FILE: Final = "threat-cloud.toml"


_PREFIX: Final = "TC_"
#: What the command line reads where it speaks to a server elsewhere.
_OF_THE_CLIENT: Final = {"TC_URL", "TC_API_KEY"}


class SettingError(DomainError):
    """A setting has a value it cannot have; the message names it, what it got and what it wants."""

    code = "bad_setting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process, checked."""

    host: str
    port: int
    db_path: Path
    database_url: str | None
    database_pool: int
    database_read_url: str | None
    api_keys: tuple[KeyEntry, ...]
    allow_anonymous_upload: bool
    public_read: bool
    rate_limit_read: int
    rate_limit_write: int
    rate_limit_feed: int
    rate_limit_anonymous: int
    tls_cert: Path | None
    tls_key: Path | None
    cors_origins: tuple[str, ...]
    log_level: str
    log_format: str
    retention_days: int
    purge_grace_days: int
    sightings_kept_months: int
    geo_db: Path | None
    asn_db: Path | None
    benign_lists: Path | None
    attack_file: Path | None
    trusted_proxies: Networks
    outbound_allow: Networks
    secret_file: Path | None
    metrics_port: int
    workers: int
    redis_url: str | None

    @property
    def place(self) -> Path | str:
        """Where the database is: a file, or the address of one on PostgreSQL."""
        return self.database_url or self.db_path

    @property
    def own_path(self) -> Path:
        """The path beside which this process has what is its own: socket, benign lists, first key. It is the database
        file; with PostgreSQL a name in the same folder that no other database has."""
        if self.database_url is None:
            return self.db_path
        return self.db_path.with_name(f"postgresql-{hashlib.sha256(self.database_url.encode()).hexdigest()[:8]}")

    @property
    def secret_path(self) -> Path:
        """Where the secret of a database file lies: beside it unless configured."""
        return self.secret_file or self.db_path.with_name(self.db_path.name + ".secret")

    @property
    def screening_files(self) -> dict[str, str]:
        """The files that indicators are screened with, by the names of their settings; empty where there is none."""
        names = ("geo_db", "asn_db", "benign_lists", "attack_file")
        files: dict[str, Path | None] = {name: getattr(self, name) for name in names}
        return {name: str(path.resolve()) if path else "" for name, path in files.items()}

    @property
    def is_loopback(self) -> bool:
        """Whether the server can only be reached from this machine."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


class Setting(NamedTuple):
    """One setting: its field in ``Settings``, variable, default as text, how to read it, what it wants, and help."""

    field: str
    variable: str
    default: str
    read: Callable[[str], Any]
    wants: str
    help: str


#: Settings whose values are in no message.
_CONFIDENTIAL: Final = {"api_keys", "database_url", "database_read_url", "redis_url"}
_RATE: Final = setting_values.integer(1, 1_000_000)
_RATE_WANTS: Final = "a whole number from 1 to 1000000"
_FILE_WANTS: Final = "the path of a file that exists"

SETTINGS: Final = (
    Setting("host", "TC_HOST", "127.0.0.1", setting_values.host, "an address or host name", "Address to listen on."),
    Setting(
        "port",
        "TC_PORT",
        "4000",
        setting_values.integer(0, 65535),
        "a port from 0 to 65535",
        "Port to listen on; 0 picks a free one.",
    ),
    Setting(
        "db_path",
        "TC_DB_PATH",
        "./data/threat-cloud.db",
        setting_values.path,
        "a path",
        "The SQLite database; made when absent. With TC_DATABASE_URL its folder is where a node keeps its own files.",
    ),
    Setting(
        "database_url",
        "TC_DATABASE_URL",
        "",
        setting_values.database_url,
        "an address such as postgresql://user:password@host:5432/database",
        "A PostgreSQL database in place of the file; any number of nodes can share it.",
    ),
    Setting(
        "database_pool",
        "TC_DATABASE_POOL",
        "8",
        setting_values.integer(1, 200),
        "a whole number from 1 to 200",
        "Connections to PostgreSQL for look-ups; five more are for the rest. Who finds all in use waits, then has 503.",
    ),
    Setting(
        "database_read_url",
        "TC_DATABASE_READ_URL",
        "",
        setting_values.database_url,
        "an address such as postgresql://user:password@host:5432/database",
        "A streaming replica of TC_DATABASE_URL that answers look-ups, searches and statistics as long as it keeps up.",
    ),
    Setting(
        "api_keys",
        "TC_API_KEYS",
        "",
        setting_values.api_keys,
        "KEY, KEY:scope+scope or KEY:scope+scope@role, comma separated",
        "API keys; scopes read write audit admin feeds (default read+write+audit), roles operator (default) agent "
        "honeypot community.",
    ),
    Setting(
        "allow_anonymous_upload",
        "ALLOW_ANONYMOUS_UPLOAD",
        "false",
        setting_values.boolean,
        "true or false",
        "Take reports without a key, as untrusted.",
    ),
    Setting(
        "public_read",
        "TC_PUBLIC_READ",
        "false",
        setting_values.boolean,
        "true or false",
        "Let anyone read and load feeds without a key.",
    ),
    Setting(
        "rate_limit_read",
        "TC_RATE_LIMIT_READ",
        "600",
        _RATE,
        _RATE_WANTS,
        "Reads a minute, per key and address.",
    ),
    Setting(
        "rate_limit_write",
        "TC_RATE_LIMIT_WRITE",
        "120",
        _RATE,
        _RATE_WANTS,
        "Writes a minute, per key and address.",
    ),
    Setting(
        "rate_limit_feed",
        "TC_RATE_LIMIT_FEED",
        "60",
        _RATE,
        _RATE_WANTS,
        "Feed requests a minute, per key and address.",
    ),
    Setting(
        "rate_limit_anonymous",
        "TC_RATE_LIMIT_ANONYMOUS",
        "60",
        _RATE,
        _RATE_WANTS,
        "Requests a minute of an address without a key; failed authentication has the same limit of its own.",
    ),
    Setting(
        "tls_cert",
        "TC_TLS_CERT",
        "",
        setting_values.optional_file,
        _FILE_WANTS,
        "Certificate chain (PEM); with TC_TLS_KEY turns TLS on.",
    ),
    Setting(
        "tls_key", "TC_TLS_KEY", "", setting_values.optional_file, _FILE_WANTS, "Private key (PEM) of the certificate."
    ),
    Setting(
        "cors_origins",
        "TC_CORS_ORIGINS",
        "",
        setting_values.origins,
        "origins such as https://intel.example.org, comma separated, or *",
        "Web origins that may call the API from a browser; none by default.",
    ),
    Setting(
        "log_level",
        "TC_LOG_LEVEL",
        "info",
        setting_values.one_of("debug", "info", "warning", "error"),
        "debug, info, warning or error",
        "The least severe log line that is written.",
    ),
    Setting(
        "log_format",
        "TC_LOG_FORMAT",
        "auto",
        setting_values.one_of("auto", "json", "console"),
        "auto, json or console",
        "How log lines look; auto is console on a terminal, else JSON.",
    ),
    Setting(
        "retention_days",
        "TC_RETENTION_DAYS",
        "90",
        setting_values.integer(0, 36_500),
        "days from 0 to 36500",
        "Days without a sighting after which an indicator expires; 0 keeps all for ever.",
    ),
    Setting(
        "purge_grace_days",
        "TC_PURGE_GRACE_DAYS",
        "30",
        setting_values.integer(0, 36_500),
        "days from 0 to 36500",
        "Days an expired indicator is still known before it is removed.",
    ),
    Setting(
        "sightings_kept_months",
        "TC_SIGHTINGS_KEPT_MONTHS",
        "0",
        setting_values.integer(0, 1_200),
        "whole months from 0 to 1200",
        "Months before the present one of which single sightings are kept; older ones go, what was concluded from them "
        "stays. 0 keeps all as long as their indicators.",
    ),
    Setting(
        "geo_db",
        "TC_GEO_DB",
        "",
        setting_values.optional_file,
        _FILE_WANTS,
        "MMDB file for countries; the built-in table otherwise.",
    ),
    Setting(
        "asn_db",
        "TC_ASN_DB",
        "",
        setting_values.optional_file,
        _FILE_WANTS,
        "MMDB file for autonomous systems; none otherwise.",
    ),
    Setting(
        "benign_lists",
        "TC_BENIGN_LISTS",
        "",
        setting_values.optional_folder,
        "the path of a folder that exists",
        "Folder of *.txt files with the operator's own never-publish values.",
    ),
    Setting(
        "attack_file",
        "TC_ATTACK_FILE",
        "",
        setting_values.optional_file,
        _FILE_WANTS,
        "ATT&CK data that replaces the packaged release.",
    ),
    Setting(
        "trusted_proxies",
        "TC_TRUSTED_PROXIES",
        "",
        setting_values.networks,
        "addresses or networks, comma separated",
        "Proxies whose X-Forwarded-For is believed.",
    ),
    Setting(
        "outbound_allow",
        "TC_OUTBOUND_ALLOW",
        "",
        setting_values.networks,
        "addresses or networks, comma separated",
        "Networks of your own that webhooks and sources may reach; otherwise only the internet.",
    ),
    Setting(
        "secret_file",
        "TC_SECRET_FILE",
        "",
        setting_values.optional_path,
        "a path",
        "The server's secret; made beside the database (NAME.secret) when absent. With TC_DATABASE_URL it is the same "
        "on all nodes, and in the database unless a file is given.",
    ),
    Setting(
        "metrics_port",
        "TC_METRICS_PORT",
        "0",
        setting_values.integer(0, 65535),
        "a port from 0 to 65535",
        "Loopback port that serves /metrics without a key; 0 serves it on the main port only, with a key.",
    ),
    Setting(
        "workers",
        "TC_WORKERS",
        "1",
        setting_values.integer(1, 64),
        "a whole number from 1 to 64",
        "Processes that answer requests: one writes, the others look up and search; no more than cores.",
    ),
    Setting(
        "redis_url",
        "TC_REDIS_URL",
        "",
        setting_values.redis_url,
        "an address redis://, rediss:// or unix://",
        "Redis (or Valkey) in which nodes share their rate limits; each has its own otherwise. Needs the extra redis.",
    ),
)


def load_settings(
    flags: Mapping[str, object], environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Settings:
    """The settings of this process: ``flags`` (by field; None counts as not given) over environment over file.

    Raises SettingError with one line that names the setting, what it got and what it wants.
    """
    environ = os.environ if environ is None else environ
    file_values = _read_file((folder or Path()) / CONFIG_FILE)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        flag = flags.get(setting.field)
        if flag is not None:
            origin, text = f"--{setting.field.replace('_', '-')}", str(flag)
        elif setting.variable in environ:
            origin, text = setting.variable, environ[setting.variable]
        elif setting.field in file_values:
            origin, text = f"{setting.field} in {CONFIG_FILE}", file_values[setting.field]
        else:
            origin, text = setting.variable, setting.default
        values[setting.field] = _read(setting, origin, text)
    settings = Settings(**values)
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingError("TC_TLS_CERT and TC_TLS_KEY go together: one is set and the other is not")
    if settings.database_read_url is not None and settings.database_url is None:
        raise SettingError("TC_DATABASE_READ_URL goes with TC_DATABASE_URL, which is not set")
    if settings.database_url is not None and settings.workers > 1:
        raise SettingError(
            f"TC_WORKERS: got {settings.workers}, but with TC_DATABASE_URL a node is one process: start several nodes "
            "on the same database instead, each with its own TC_PORT and folder of TC_DB_PATH, behind a proxy"
        )
    return settings


def local_settings(db_path: Path | None) -> Settings:
    """The settings of a command over the local system. A file that the command line names is what it is over, whatever
    ``TC_DATABASE_URL`` says; a replica is none."""
    return load_settings({"db_path": db_path, "database_url": "" if db_path else None, "database_read_url": ""})


#: Variables that only our tests read.
_OF_TESTS: Final = "TC_TEST_"


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each variable ``TC_…`` that nothing reads, with the one that may have been meant."""
    environ = os.environ if environ is None else environ
    known = {setting.variable for setting in SETTINGS if setting.variable.startswith(_PREFIX)} | _OF_THE_CLIENT
    found = []
    ours = (name for name in environ if name.startswith(_PREFIX) and not name.startswith(_OF_TESTS))
    for name in sorted(name for name in ours if name not in known):
        near = difflib.get_close_matches(name, known, 1)
        found.append(f"{name} is set and is no setting" + (f"; did you mean {near[0]}?" if near else ""))
    return found


def _read(setting: Setting, origin: str, text: str) -> Any:
    try:
        return setting.read(text)
    except (ValueError, KeyError) as error:
        reason = f" ({error})" if setting.field == "api_keys" else ""
        got = "a value that does not fit" if setting.field in _CONFIDENTIAL else repr(text)
        raise SettingError(f"{origin}: got {got}{reason}, wants {setting.wants}") from None


def _read_file(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError(f"{path}: {error}") from error
    known = {setting.field for setting in SETTINGS}
    for name in content:
        if name not in known:
            raise SettingError(f"{path}: {name} is no setting; settings are {', '.join(sorted(known))}")
    return {name: _text(value) for name, value in content.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value)
