"""The answers of a real crowdsec (Debian's package) and ours, field by field."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from tests.http.conftest import FEEDS_ONLY, Api, LiveServer, item, within

CROWDSEC: Final = shutil.which("crowdsec")
CSCLI: Final = shutil.which("cscli")
KEY: Final = "oracle-0123456789abcdef"
ADDRESS: Final = "91.240.7.7"
NETWORK: Final = "91.241.7.0/24"

pytestmark = pytest.mark.skipif(not (CROWDSEC and CSCLI), reason="crowdsec is not installed")

CONFIG: Final = """
common: {{daemonize: false, log_media: stdout, log_level: error, working_dir: .}}
config_paths:
  config_dir: {folder}
  data_dir: {folder}
  hub_dir: {folder}
  index_path: {folder}/.index.json
  simulation_path: {folder}/simulation.yaml
  notification_dir: {folder}/notifications
  plugin_dir: {folder}/plugins
db_config: {{type: sqlite, db_path: {folder}/crowdsec.db, log_level: error}}
crowdsec_service: {{enable: false}}
cscli: {{output: json}}
api:
  client: {{credentials_path: {folder}/credentials.yaml}}
  server: {{log_level: error, listen_uri: "127.0.0.1:{port}", profiles_path: {folder}/profiles.yaml}}
prometheus: {{enabled: false}}
"""
PROFILES: Final = """
name: default
filters: ["Alert.Remediation == true"]
decisions: [{type: ban, duration: 4h}]
on_success: break
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A bouncer of a real crowdsec that has decided on an address and a network."""
    assert CROWDSEC
    assert CSCLI
    folder, port = tmp_path_factory.mktemp("crowdsec"), _free_port()
    for name in ("notifications", "plugins"):
        (folder / name).mkdir()
    files = {"config.yaml": CONFIG.format(folder=folder, port=port), "profiles.yaml": PROFILES}
    for name, text in {**files, "simulation.yaml": "simulation: false\n", ".index.json": "{}"}.items():
        (folder / name).write_text(text)
    url = f"http://127.0.0.1:{port}"

    def cscli(*words: str) -> None:
        subprocess.run([CSCLI, "-c", folder / "config.yaml", *words], capture_output=True, check=True, timeout=30)

    cscli("machines", "add", "m", "--password", "p", "--url", url, "-f", str(folder / "credentials.yaml"))
    cscli("bouncers", "add", "b", "-k", KEY)
    process = subprocess.Popen(
        [CROWDSEC, "-c", folder / "config.yaml", "-no-cs"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with httpx.Client(base_url=url, headers={"X-Api-Key": KEY}, trust_env=False, timeout=10) as client:
        assert within(20, lambda: _answers(client))
        cscli("decisions", "add", "--ip", ADDRESS, "--reason", "test/scan")
        cscli("decisions", "add", "--range", NETWORK, "--reason", "test/scan")
        yield client
    process.terminate()
    process.wait(20)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/decisions").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def ours(server: LiveServer, api: Api) -> Api:
    """A bouncer of ours that holds the same."""
    api.report(item(ADDRESS, category="scanner"), item(NETWORK, category="scanner"))
    assert within(3, lambda: NETWORK in api.blocked())
    return server.client(None, {"X-Api-Key": FEEDS_ONLY})


def shape(answer: Any) -> Any:
    """The structure of an answer: names in their order, types, and the fields whose words mean something."""
    if isinstance(answer, list):
        return sorted((shape(item) for item in answer), key=str)
    if isinstance(answer, dict):
        meaning = {name: value for name, value in answer.items() if name in {"scope", "type", "value"}}
        return [(name, meaning.get(name) or shape(value)) for name, value in answer.items()]
    return type(answer).__name__


@pytest.mark.parametrize(
    "target",
    [
        "/v1/decisions",
        f"/v1/decisions?ip={ADDRESS}",
        "/v1/decisions?ip=91.240.7.8",
        "/v1/decisions?ip=91.241.7.9",
        "/v1/decisions?range=91.241.7.0/25",
        "/v1/decisions?range=91.241.0.0/16&contains=false",
        f"/v1/decisions?value={ADDRESS}",
        "/v1/decisions?type=captcha",
        "/v1/decisions?scenarios_containing=scan",
        "/v1/decisions?scenarios_containing=nothing",
        "/v1/decisions/stream?startup=true",
        "/v1/decisions/stream?startup=true&scopes=range",
        "/v1/decisions/stream?startup=true&origins=CAPI",
        "/v1/decisions/stream?startup=true&scenarios_not_containing=scan",
        "/v1/decisions/stream?startup=false",
    ],
)
def test_answers_have_the_shape_of_theirs(theirs: httpx.Client, ours: Api, target: str) -> None:
    wanted, got = theirs.get(target), ours.get(target)

    assert got.status_code == wanted.status_code == 200
    assert shape(got.json()) == shape(wanted.json())


@pytest.mark.parametrize("headers", [{"X-Api-Key": ""}, {"X-Api-Key": "nobodys-0123456789"}])
def test_refusals_are_theirs(theirs: httpx.Client, ours: Api, headers: dict[str, str]) -> None:
    wanted, got = (client.get("/v1/decisions", headers=headers) for client in (theirs, ours))

    assert (got.status_code, got.json()) == (wanted.status_code, wanted.json())


def test_head_is_answered_as_theirs(theirs: httpx.Client, ours: Api) -> None:
    wanted, got = (client.head("/v1/decisions") for client in (theirs, ours))

    assert (got.status_code, got.content) == (wanted.status_code, wanted.content)
