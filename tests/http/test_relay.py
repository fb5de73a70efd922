"""What a client is told when the process that writes cannot answer: to try again only where that does no harm."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from threatcloud.http.relay import Relay


def asked_of(path: Path, method: str) -> tuple[int, dict[bytes, bytes], Any]:
    """The answer to a request that is handed to what listens at the path."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        server = await asyncio.start_unix_server(_hang_up, path.parent / "broken.sock")
        headers = [(b"content-length", b"2"), (b"x-request-id", b"mine")]
        scope: Any = {"method": method, "raw_path": b"/api/x", "path": "/api/x", "query_string": b"", "client": None}
        await Relay(path).answer({**scope, "headers": headers}, receive, send)
        server.close()

    asyncio.run(run())
    start, body = sent
    return start["status"], dict(start["headers"]), json.loads(body["body"])


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_never_arrived_can_be_tried_again(tmp_path: Path, method: str) -> None:
    status, headers, body = asked_of(tmp_path / "nobody.sock", method)
    assert (status, headers[b"retry-after"], body["code"]) == (503, b"1", "busy")
    assert body["requestId"] == headers[b"x-request-id"].decode() == "mine"


@pytest.mark.parametrize(("method", "expected"), [("GET", (503, "busy")), ("POST", (500, "internal"))])
def test_of_what_broke_off_a_write_may_have_been_stored(tmp_path: Path, method: str, expected: tuple[int, str]) -> None:
    status, headers, body = asked_of(tmp_path / "broken.sock", method)
    assert (status, body["code"]) == expected
    assert (b"retry-after" in headers) == (status == 503)
