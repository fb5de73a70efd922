"""Every test of the protocol runs on both event loops, on each with an app that is eager, too."""

from collections.abc import Iterator

import pytest

from tests.http.protocol.sites import PATIENT, Site, running


@pytest.fixture(scope="module", params=["uvloop", "asyncio", "uvloop eager", "asyncio eager"])
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name.startswith("uvloop"):
        pytest.importorskip("uvloop")
    return name


@pytest.fixture(scope="module")
def site(loop: str) -> Iterator[Site]:
    with running(PATIENT, loop) as site:
        yield site
