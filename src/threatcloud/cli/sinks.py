"""Where an import goes: the database of this machine, or a server elsewhere."""

import asyncio
import hashlib
from typing import Any, Final, Protocol

import msgspec

from threatcloud.cli.connect import Api, Refused, patiently
from threatcloud.cli.output import note
from threatcloud.http.bulk.log_reading import COWRIE, REPLAY
from threatcloud.services.bulk.frames import ReadJob, Rejected

#: Where the events of a log go, by its format.
_LOG_PATHS: Final = {COWRIE: "/local/imports/visits", REPLAY: "/local/imports/events"}


class Sink(Protocol):
    """Where bodies go, ``in_flight`` at a time.

    ``store`` gives what became of the values and which the other side refused.
    """

    in_flight: int

    async def begin(self) -> dict[str, str]: ...
    async def store(self, body: bytes) -> tuple[dict[str, int], list[Rejected]]: ...
    async def finish(self, summary: dict[str, Any]) -> None: ...


async def screening_of(api: Api) -> dict[str, str]:
    """The settings that rows are to be screened with here; none where a server elsewhere does that."""
    if not api.is_local:
        return {}
    answer = await api.call("POST", "/local/imports/screening", {})
    return {name: str(value) for name, value in answer["screening"].items()}


class DrySink:
    """Nowhere: what was read is counted, and that is all."""

    in_flight = 1

    def __init__(self, api: Api) -> None:
        self._api = api

    async def begin(self) -> dict[str, str]:
        """The settings to screen with."""
        return await screening_of(self._api)

    async def store(self, _body: bytes) -> tuple[dict[str, int], list[Rejected]]:
        """Stores nothing."""
        return {}, []

    async def finish(self, summary: dict[str, Any]) -> None:
        """Nothing to enter."""


class LocalSink:
    """The database of this machine, by whichever process has it open: rows come prepared and are stored in chunks.

    Chunks that wait together are committed together, which is worth a third of the time. What a log tells is stored
    in its order.
    """

    def __init__(self, api: Api, job: ReadJob, stop: asyncio.Event) -> None:
        self._api = api
        self._run = job.run
        self._source = job.source
        self._stop = stop
        self._path = _LOG_PATHS.get(job.format or "", "/local/imports/rows")
        self.in_flight = 1 if job.format in _LOG_PATHS else 8

    async def begin(self) -> dict[str, str]:
        """Enters the start; gives the settings that rows are to be screened with."""
        answer = await self._api.call("POST", "/local/imports", {"run": self._run, "source": self._source})
        days = answer["retentionDays"]
        if days and self._path in _LOG_PATHS.values():
            note(f"what was last seen over {days} days ago expires here; set TC_RETENTION_DAYS=0 to keep all")
        return {name: str(value) for name, value in answer["screening"].items()}

    async def store(self, body: bytes) -> tuple[dict[str, int], list[Rejected]]:
        """Stores a chunk; one the database has no time for is sent again."""
        done = await patiently(lambda: self._api.call("POST", self._path, body), self._stop)
        refused = msgspec.convert(done.pop("rejected", []), list[Rejected])
        return done, refused

    async def finish(self, summary: dict[str, Any]) -> None:
        """Enters the end."""
        await self._api.call("POST", "/local/imports/end", {"run": self._run, "summary": summary})


class RemoteSink:
    """A server elsewhere: each batch is a report, which the same Idempotency-Key keeps from counting twice in a day."""

    in_flight = 1

    def __init__(self, api: Api, stop: asyncio.Event) -> None:
        self._api = api
        self._stop = stop

    async def begin(self) -> dict[str, str]:
        """Nothing to enter: the server keeps its own ledger."""
        return {}

    async def store(self, body: bytes) -> tuple[dict[str, int], list[Rejected]]:
        """Reports a batch as fast as the server's limits allow."""
        headers = {"Idempotency-Key": f"import-{hashlib.sha256(body).hexdigest()}"}

        async def send() -> Any:
            query = {"partial": True}
            reply = await self._api.send("POST", "/api/threats", query=query, body=body, headers=headers)
            return msgspec.json.decode(reply.content)["data"]

        try:
            done = await patiently(send, self._stop)
        except Refused as refused:
            if refused.status != 400 or not all("index" in detail for detail in refused.details):
                raise
            return {}, _refused(body, refused.details)
        return {"new": done["new"], "updated": done["updated"]}, _refused(body, done.get("rejected") or [])

    async def finish(self, summary: dict[str, Any]) -> None:
        """Nothing to enter."""


def _refused(body: bytes, details: list[dict[str, Any]]) -> list[Rejected]:
    if not details:
        return []
    items = msgspec.json.decode(body)["threats"]
    return [Rejected(0, detail["field"], detail["reason"], items[detail["index"]]["value"]) for detail in details]


class RemoteVisits:
    """A server elsewhere: each visit is a report of the key, which its session id keeps from counting twice."""

    in_flight = 4

    def __init__(self, api: Api, stop: asyncio.Event) -> None:
        self._api = api
        self._stop = stop

    async def begin(self) -> dict[str, str]:
        """Nothing to enter: the server keeps its own ledger."""
        return {}

    async def store(self, body: bytes) -> tuple[dict[str, int], list[Rejected]]:
        """Reports a visit as fast as the server's limits allow."""
        try:
            await patiently(lambda: self._api.call("POST", "/api/trap-intel", body), self._stop)
        except Refused as refused:
            if refused.status != 400 or not refused.details:
                raise
            attacker = msgspec.json.decode(body)["attackerIp"]
            return {}, [Rejected(0, item["field"], item["reason"], attacker) for item in refused.details[:1]]
        return {"sent": 1}, []

    async def finish(self, summary: dict[str, Any]) -> None:
        """Nothing to enter."""


def make_sink(api: Api, job: ReadJob, stop: asyncio.Event) -> Sink:
    """The sink for what a job reads, on the system that the command line names."""
    if api.is_local:
        return LocalSink(api, job, stop)
    return RemoteVisits(api, stop) if job.format == COWRIE else RemoteSink(api, stop)
