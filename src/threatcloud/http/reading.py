"""The application of a process that only reads: what the database alone answers it answers, the rest it hands on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.types import Receive, Scope, Send

from threatcloud.domain.errors import InvalidInput
from threatcloud.footprint import give_back_forever
from threatcloud.http.app import Gateway
from threatcloud.http.context import Services
from threatcloud.http.relay import Relay, add_counts, take_counts
from threatcloud.http.routes import RouteTable
from threatcloud.storage.driver import Connection

#: The longest a reader that nobody asks stays in what was read before the last commit.
_RELEASE_S: Final = 0.05
#: What was counted since then is lost with a killed reader.
_HAND_OVER_S: Final = 1.0


class ReadingGateway:
    """Answers what is declared ``from_database`` and hands on what is not.

    ``reload`` reads anew what is kept in memory beside the database; it is called before the first request after a
    commit that changed it.
    """

    def __init__(self, services: Services, relay: Relay, reload: Callable[[Connection], None]) -> None:
        self._store = services.store
        self._gateway = Gateway(services)
        self._table = RouteTable(services.endpoints)
        self._relay = relay
        self._reload = reload
        self._kept_version = -1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        await self.take_up()
        if self._is_for_home(scope):
            await self._relay.answer(scope, receive, send)
        else:
            await self._gateway(scope, receive, send)

    async def take_up(self) -> None:
        """Reads anew what is kept in memory, where a commit has changed it: before a request, and while answers that
        have no end go on."""
        version = self._store.kept_version
        if version != self._kept_version:
            await self._store.read(self._reload)
            self._kept_version = version

    def _is_for_home(self, scope: Scope) -> bool:
        try:
            found = self._table.find(scope["raw_path"])
        except InvalidInput:
            return False
        route = found and found.routes.get("GET" if scope["method"] == "HEAD" else scope["method"])
        return route is not None and not route.endpoint.from_database


@asynccontextmanager
async def beside_reading(services: Services, relay: Relay, gateway: ReadingGateway) -> AsyncIterator[None]:
    """What runs beside the requests of a reader: it lets go of old commits, and hands over what it counts."""

    async def release() -> None:
        while True:
            await asyncio.sleep(_RELEASE_S)
            services.store.end_stale_reading()
            if services.hub.followers:
                await gateway.take_up()

    async def hand_over() -> None:
        counts = take_counts(services)
        if counts is not None and not await relay.hand_over(counts):
            add_counts(services, counts)

    async def keep_handing_over() -> None:
        while True:
            await asyncio.sleep(_HAND_OVER_S)
            await hand_over()

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(work) for work in (release(), keep_handing_over(), give_back_forever())]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
    await hand_over()
    relay.close()
    if services.shared_limiter is not None:
        await services.shared_limiter.close()
