"""The floor of a read: a bare ASGI function on the same server that answers the same bytes, whatever is asked."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from threatcloud.http.serve import run_server


def make_floor(status: int, fields: Mapping[str, str], body: bytes) -> Any:
    """The function."""
    headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        if scope["method"] == "POST":
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def main(folder: Path, port: int) -> int:
    """Serves the answer kept in the folder until the end; the exit code."""
    head = json.loads((folder / "head.json").read_text("utf-8"))
    app = make_floor(head["status"], head["headers"], (folder / "body").read_bytes())
    return run_server(
        app,
        host="127.0.0.1",
        port=port,
        tls_cert=None,
        tls_key=None,
        on_started=lambda url: print(url, flush=True),
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
