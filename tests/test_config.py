"""Settings: where a value comes from, and what is said of a wrong one."""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from threatcloud.config import CONFIG_FILE, SETTINGS, SettingError, Settings, load_settings, unknown_variables
from threatcloud.domain.access import DEFAULT_SCOPES, KeyEntry, Scope
from threatcloud.domain.report import Role

SECRET_PART = "hunter2-hunter2"


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Settings]:
    """``load({"port": 1}, TC_PORT="2", file="port = 3")``: the settings of flags, environment and file."""

    def load_with(flags: dict[str, object] | None = None, file: str | bytes | None = None, **environ: str) -> Settings:
        if file is not None:
            content = file if isinstance(file, bytes) else file.encode()
            (tmp_path / CONFIG_FILE).write_bytes(content)
        return load_settings(flags or {}, environ, tmp_path)

    return load_with


Load = Callable[..., Settings]


def refusal(load: Load, *args: Any, **environ: Any) -> str:
    with pytest.raises(SettingError) as caught:
        load(*args, **environ)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_defaults(load: Load) -> None:
    plain = load()
    assert (plain.host, plain.port, plain.db_path) == ("127.0.0.1", 4000, Path("data/threat-cloud.db"))
    assert (plain.api_keys, plain.trusted_proxies, plain.cors_origins) == ((), (), ())
    assert not plain.allow_anonymous_upload
    assert not plain.public_read
    rates = (plain.rate_limit_read, plain.rate_limit_write, plain.rate_limit_feed, plain.rate_limit_anonymous)
    assert rates == (600, 120, 60, 60)
    assert plain.secret_path == Path("data/threat-cloud.db.secret")
    assert plain.is_loopback


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(load: Load) -> None:
    file = "port = 3"
    assert load({"port": 1}, file, TC_PORT="2").port == 1
    assert load({"port": None}, file, TC_PORT="2").port == 2
    assert load({}, file).port == 3
    assert load({}, "").port == 4000


#: For each setting, a good text with what is read from it, and a bad one.
VALUES: dict[str, tuple[str, Any, str]] = {
    "host": ("::1", "::1", " "),
    "port": ("0", 0, "65536"),
    "db_path": ("/somewhere/x.db", Path("/somewhere/x.db"), ""),
    "database_url": ("postgresql://h/x", "postgresql://h/x", "mysql://h/x"),
    "database_pool": ("3", 3, "0"),
    "database_read_url": ("postgresql://h/x", "postgresql://h/x", "redis://h/x"),
    "api_keys": (
        "first-key-1:read@agent, second-key-2",
        (
            KeyEntry("first-key-1", frozenset({Scope.READ}), Role.AGENT),
            KeyEntry("second-key-2", DEFAULT_SCOPES, Role.OPERATOR),
        ),
        "short",
    ),
    "allow_anonymous_upload": ("Yes", True, "perhaps"),
    "public_read": ("1", True, ""),
    "rate_limit_read": ("1", 1, "0"),
    "rate_limit_write": ("1000000", 1_000_000, "1000001"),
    "rate_limit_feed": ("5", 5, "-5"),
    "rate_limit_anonymous": ("5", 5, "five"),
    "tls_cert": ("FILE", "FILE", "no-such-file"),
    "tls_key": ("FILE", "FILE", "no-such-file"),
    "cors_origins": (
        "https://a.example.org, http://localhost:3000",
        ("https://a.example.org", "http://localhost:3000"),
        "a.example.org",
    ),
    "log_level": ("WARNING", "warning", "loud"),
    "log_format": ("json", "json", "xml"),
    "retention_days": ("0", 0, "-1"),
    "purge_grace_days": ("7", 7, "a week"),
    "sightings_kept_months": ("3", 3, "a quarter"),
    "geo_db": ("FILE", "FILE", "no-such-file"),
    "asn_db": ("FILE", "FILE", "no-such-file"),
    "benign_lists": ("FOLDER", "FOLDER", "no-such-folder"),
    "attack_file": ("FILE", "FILE", "no-such-file"),
    "trusted_proxies": (
        "192.0.2.1, 2001:db8::/32",
        (ip_network("192.0.2.1/32"), ip_network("2001:db8::/32")),
        "proxy.example.org",
    ),
    "outbound_allow": ("10.0.0.0/8,::1", (ip_network("10.0.0.0/8"), ip_network("::1/128")), "my network"),
    "secret_file": ("x.secret", Path("x.secret"), "FOLDER"),
    "metrics_port": ("9100", 9100, "http"),
    "workers": ("4", 4, "0"),
    "redis_url": ("redis://:pass@h/0", "redis://:pass@h/0", "http://h"),
}
PAIRS = {"tls_cert": "tls_key", "tls_key": "tls_cert", "database_read_url": "database_url"}


def test_every_setting_is_tested_here() -> None:
    assert list(VALUES) == [setting.field for setting in SETTINGS] == list(Settings.__slots__)
    assert len({setting.variable for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.help and setting.wants for setting in SETTINGS)


def there(tmp_path: Path, text: str) -> str:
    """The text, with a file or folder that exists where it names one."""
    (tmp_path / "folder").mkdir(exist_ok=True)
    (tmp_path / "file").touch()
    return text.replace("FILE", str(tmp_path / "file")).replace("FOLDER", str(tmp_path / "folder"))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.field)
def test_each_setting_is_read_from_everywhere(load: Load, tmp_path: Path, setting: Any) -> None:
    text, value, _ = VALUES[setting.field]
    text = there(tmp_path, text)
    expected = Path(text) if value in ("FILE", "FOLDER") else value
    other = PAIRS.get(setting.field)
    more = {f"TC_{other.upper()}": text} if other else {}
    for settings in (
        load({setting.field: text}, **more),
        load({}, **{setting.variable: text}, **more),
        load({}, f"{setting.field} = '{text}'", **more),
    ):
        assert getattr(settings, setting.field) == expected


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.field)
def test_a_wrong_value_is_refused_in_one_line_that_names_it(load: Load, tmp_path: Path, setting: Any) -> None:
    bad = there(tmp_path, VALUES[setting.field][2])
    flag = f"--{setting.field.replace('_', '-')}"
    origins = (
        (flag, refusal(load, {setting.field: bad})),
        (setting.variable, refusal(load, {}, **{setting.variable: bad})),
        (f"{setting.field} in {CONFIG_FILE}", refusal(load, {}, f"{setting.field} = '{bad}'")),
    )
    for origin, said in origins:
        assert said.startswith(f"{origin}: got ")
        assert said.endswith(f", wants {setting.wants}")
        assert repr(bad) in said or setting.field in {"api_keys", "database_url", "database_read_url", "redis_url"}


def test_a_wrong_value_of_several_lines_is_still_one(load: Load) -> None:
    assert r"'40\n00'" in refusal(load, {}, TC_PORT="40\n00")


@pytest.mark.parametrize(
    "keys",
    [
        SECRET_PART[:7],
        f"{SECRET_PART} with spaces",
        f"{SECRET_PART}:{SECRET_PART}",
        f"{SECRET_PART}@{SECRET_PART}",
        f"{SECRET_PART}:read@{SECRET_PART}",
        f"{SECRET_PART}:raed",
        f"good-key-1,{SECRET_PART}:",
        f"{SECRET_PART}\x00",
        f"{SECRET_PART}é",
        SECRET_PART * 40,
    ],
)
def test_a_wrong_key_is_never_shown(load: Load, keys: str) -> None:
    if keys.endswith(":"):
        assert len(load({}, TC_API_KEYS=keys).api_keys) == 2
        return
    for said in (
        refusal(load, {}, TC_API_KEYS=keys),
        refusal(load, {"api_keys": keys}),
        refusal(
            load,
            {},
            "api_keys = [" + ", ".join(f'"{item}"' for item in keys.replace("\x00", "\\u0000").split(",")) + "]",
        ),
    ):
        assert "hunter" not in said
        assert "api" in said.lower()


@pytest.mark.parametrize("word", ["true", "TRUE", " 1 ", "yes", "false", "0", "No"])
def test_booleans(load: Load, word: str) -> None:
    assert load({}, TC_PUBLIC_READ=word).public_read is (word.strip().lower() in ("true", "1", "yes"))


def test_the_file_takes_the_types_of_toml(load: Load) -> None:
    settings = load({}, 'public_read = true\nport = 5\ncors_origins = ["https://a.org", "https://b.org"]\n# a comment')
    assert (settings.public_read, settings.port, settings.cors_origins) == (True, 5, ("https://a.org", "https://b.org"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("prot = 1", "prot is no setting; settings are allow_anonymous_upload"),
        ("port 1", "line 1"),
        (b"port = '\xff'", "decode"),
        ("[server]\nport = 1", "server is no setting"),
        ("port = {low = 1}", "wants a port"),
        ("port = 1.5", "wants a port"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(load: Load, content: str | bytes, reason: str) -> None:
    said = refusal(load, {}, content)
    assert reason in said
    assert CONFIG_FILE in said


def test_an_unreadable_file_is_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).mkdir()
    assert CONFIG_FILE in refusal(load)


@pytest.mark.parametrize("field", ["tls_cert", "tls_key"])
def test_half_of_tls_is_refused(load: Load, tmp_path: Path, field: str) -> None:
    said = refusal(load, {field: there(tmp_path, "FILE")})
    assert "TC_TLS_CERT and TC_TLS_KEY go together" in said


@pytest.mark.parametrize("origin", ["*", "https://a.org", "http://[::1]:3000"])
def test_origins(load: Load, origin: str) -> None:
    assert load({}, TC_CORS_ORIGINS=origin).cors_origins == (origin,)


@pytest.mark.parametrize("origin", ["https://", "https://a.org/", "ftp://a.org", "null", "https://a.org,b.org"])
def test_what_is_no_origin(load: Load, origin: str) -> None:
    assert "TC_CORS_ORIGINS" in refusal(load, {}, TC_CORS_ORIGINS=origin)


def test_a_network_of_proxies_may_have_host_bits(load: Load) -> None:
    assert load({}, TC_TRUSTED_PROXIES="192.0.2.7/24").trusted_proxies == (ip_network("192.0.2.0/24"),)


def test_paths_may_begin_at_home(load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load({}, TC_DB_PATH="~/x.db", TC_SECRET_FILE="~/y")
    assert (settings.db_path, settings.secret_path) == (tmp_path / "x.db", tmp_path / "y")


def test_a_file_is_no_folder_of_lists(load: Load, tmp_path: Path) -> None:
    """Else an operator who names the list itself publishes what it should hold back."""
    assert "TC_BENIGN_LISTS" in refusal(load, {}, TC_BENIGN_LISTS=there(tmp_path, "FILE"))


@pytest.mark.parametrize("variable", ["TC_GEO_DB", "TC_ASN_DB", "TC_ATTACK_FILE"])
def test_a_folder_is_no_file(load: Load, tmp_path: Path, variable: str) -> None:
    assert variable in refusal(load, {}, **{variable: there(tmp_path, "FOLDER")})


def test_a_replica_needs_the_address_of_what_it_follows(load: Load) -> None:
    assert "TC_DATABASE_URL" in refusal(load, {}, TC_DATABASE_READ_URL="postgresql://h/x")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("intel.example.org", False),
    ],
)
def test_what_only_this_machine_can_reach(load: Load, host: str, loopback: bool) -> None:
    assert load({}, TC_HOST=host).is_loopback is loopback


def test_variables_nothing_reads_are_told_with_what_was_meant() -> None:
    environ = {"TC_DB_PAHT": "x", "TC_QQQQ": "1", "TC_PORT": "1", "TC_URL": "http://h", "HOME": "/"}
    assert unknown_variables(environ) == [
        "TC_DB_PAHT is set and is no setting; did you mean TC_DB_PATH?",
        "TC_QQQQ is set and is no setting",
    ]
