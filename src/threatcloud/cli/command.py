"""How commands are declared: a coroutine over the API becomes a command with the options that say where to connect."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, ParamSpec

import typer

from threatcloud.cli.connect import Api, Target, connect

P = ParamSpec("P")
Run = Callable[Concatenate[Api, P], Awaitable[None]]

_CONNECTION: Final = "Connection"
Url = Annotated[
    str | None,
    typer.Option(
        "--url", help="Talk to this server; its key comes from TC_API_KEY. \\[env: TC_URL]", rich_help_panel=_CONNECTION
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--api-key-file", help="File with the API key for --url.", rich_help_panel=_CONNECTION),
]
DbPath = Annotated[
    Path | None,
    typer.Option(
        "--db-path",
        help="The local database, open in a server or not. \\[env: TC_DB_PATH, default: ./data/threat-cloud.db]",
        rich_help_panel=_CONNECTION,
    ),
]
_TARGET: Final = {"url": Url, "api_key_file": KeyFile, "db_path": DbPath}


def examples(*lines: str) -> str:
    """The epilog of a command: its examples, one a line."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line.replace('[', chr(92) + '[')}" for line in lines)])


def prose(docstring: str | None) -> str:
    """A docstring as help: paragraphs without line ends, which the terminal's width decides on."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


def command(app: typer.Typer, name: str, *lines: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declares a plain command with its examples."""

    def declare(run: Callable[..., None]) -> Callable[..., None]:
        return app.command(name, help=prose(run.__doc__), epilog=examples(*lines))(run)

    return declare


def api_command(
    app: typer.Typer,
    name: str,
    *lines: str,
    creates: bool = False,
    publishes: bool = False,
    needs_server: bool = False,
) -> Callable[[Run[P]], Run[P]]:
    """Declares a command over the API: the coroutine gets a connected ``Api`` and the command's own parameters.

    ``creates``, ``publishes`` and ``needs_server`` are those of ``connect``.
    """

    def declare(run: Run[P]) -> Run[P]:
        own = list(inspect.signature(run).parameters.values())[1:]

        @functools.wraps(run)
        def invoke(**values: Any) -> None:
            target = Target(**{option: values.pop(option) for option in _TARGET})

            async def connected() -> None:
                async with connect(target, creates=creates, publishes=publishes, needs_server=needs_server) as api:
                    await run(api, **values)  # type: ignore[call-arg]

            asyncio.run(connected())

        connection = [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for option, annotation in _TARGET.items()
        ]
        with_parameters(invoke, [*own, *connection])
        app.command(name, help=prose(run.__doc__), epilog=examples(*lines))(invoke)
        return run

    return declare


def with_parameters(function: Callable[..., object], parameters: list[inspect.Parameter]) -> None:
    """Has a function taken for one with these parameters, by whoever asks for its signature."""
    vars(function).pop("__wrapped__", None)
    vars(function)["__signature__"] = inspect.Signature(parameters)
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
