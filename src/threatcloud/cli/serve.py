"""``threat-cloud serve``: the server, and what a newcomer needs to see when it has started."""

import asyncio
import inspect
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit

import typer

from threatcloud.cli.command import examples, with_parameters
from threatcloud.cli.failures import CommandFailed
from threatcloud.cli.output import note
from threatcloud.config import CONFIG_FILE, SETTINGS, Setting, Settings, load_settings, unknown_variables

if TYPE_CHECKING:
    from threatcloud.bootstrap import Node

_BOOLEAN: Final = "true or false"


def add_to(app: typer.Typer) -> None:
    """Adds the command, with a flag for every setting."""

    def serve(**flags: Any) -> None:
        for said in unknown_variables():
            note(said)
        code = _run(load_settings(flags))
        if code:
            raise CommandFailed("the server could not start or stop as it should; the log above says why", code)

    serve.__doc__ = (
        "Start the server.\n\nEach setting is taken from its flag, else from the environment, else from "
        f"{CONFIG_FILE} in the working directory, else its default holds. SIGTERM and Ctrl-C stop it once the requests "
        "in flight are answered and every write is stored."
    )
    with_parameters(serve, [_flag(setting) for setting in SETTINGS])
    lines = (
        "threat-cloud serve",
        "threat-cloud serve --port 4100 --db-path /srv/intel/threat-cloud.db",
        "TC_API_KEYS=my-long-secret-key:read+write threat-cloud serve --host 0.0.0.0 --public-read",
    )
    app.command("serve", epilog=examples(*lines))(serve)


def _flag(setting: Setting) -> inspect.Parameter:
    """A flag left out is None; the value is read and checked where all the others are, in ``config``."""
    name = f"--{setting.field.replace('_', '-')}"
    default = f", default: {setting.default}" if setting.default else ""
    text = f"{setting.help} \\[env: {setting.variable}{default}]"
    annotation: Any
    if setting.wants == _BOOLEAN:
        switch = f"{name}/--no-{name.removeprefix('--')}"
        annotation = Annotated[bool | None, typer.Option(switch, help=text, show_default=False)]
    else:
        annotation = Annotated[str | None, typer.Option(name, help=text, show_default=False)]
    return inspect.Parameter(setting.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _run(settings: Settings) -> int:
    from threatcloud.footprint import tune_allocator
    from threatcloud.http.logs import configure_logs

    tune_allocator()
    configure_logs(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop


async def _serve(settings: Settings) -> int:
    from threatcloud.bootstrap import (
        announce_key,
        check_exposure,
        first_key,
        make_readers,
        make_server_app,
        open_node,
    )
    from threatcloud.http.serve import Server

    node = await open_node(settings)
    try:
        check_exposure(settings, node.services.ring)
        # The port is taken before a key is made: a start that fails must not use up the first key.
        readers = make_readers(node)
        server = Server(
            make_server_app(node, readers),
            host=settings.host,
            port=settings.port,
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
            on_started=lambda url: _say(_banner(url, key_words)),
            helpers=readers,
        )
        key = await first_key(node)
        key_words = _key_words(node, key, announce_key(key, settings) if key else None)
        _say(f"{key_words.note}\n")  # at once: were the start to fail from here on, the key would never be seen
        return await server.serve_here()
    finally:
        node.close()


class _KeyWords(NamedTuple):
    """What the banner says of keys, and how the key stands in a shell command."""

    note: str
    in_shell: str


def _key_words(node: "Node", key: str | None, file: Path | None) -> _KeyWords:
    if key and file is None:
        return _KeyWords(f"Your API key, shown this once: {key}", key)
    if file is None:
        file = _earlier_file(node)
    if file is not None:
        path = file.resolve()
        return _KeyWords(f"The API key made at first start is in {path}", f"$(cat {shlex.quote(str(path))})")
    return _KeyWords("Put your API key into TC_API_KEY first: export TC_API_KEY=...", "$TC_API_KEY")


def _earlier_file(node: "Node") -> Path | None:
    """The file of the first key, where it is still there and the key still valid."""
    from threatcloud.bootstrap import clock, first_key_path

    path = first_key_path(node.services.settings)
    try:
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return path if node.services.ring.find(key, clock()) else None


def _banner(url: str, key: _KeyWords) -> str:
    url = _reachable(url)
    curl = f'curl -sS -H "Authorization: Bearer {key.in_shell}"'
    item = '{"type":"ip","value":"203.0.113.7","source":"manual","category":"bruteforce","severity":"high"}'
    return f"""
Threat Cloud listens on {url}
Documentation of the API: {url}/docs

Report an indicator, look it up, load the blocklist (203.0.113.7 is a documentation address: kept, never published):

  {curl} -H "Content-Type: application/json" -d '{{"threats":[{item}]}}' {url}/api/threats
  {curl} {url}/api/iocs/203.0.113.7
  {curl} {url}/api/feeds/ip-blocklist

"""


def _reachable(url: str) -> str:
    """The URL with a host that this machine can go to: the wildcard addresses stand for all of its own."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        if ip_address(host).is_unspecified:
            return url.replace("[::]", "[::1]").replace(f"//{host}:", "//127.0.0.1:")
    return url


def _say(text: str) -> None:
    """To the terminal, where the log goes too; elsewhere to standard output, which the log does not use."""
    stream = sys.stderr if sys.stderr.isatty() else sys.stdout
    stream.write(text)
    stream.flush()
