"""Parts of the command line that a whole process shows too slowly or not at all."""

import asyncio
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatcloud.cli.connect import Refused, patiently
from threatcloud.cli.failures import ExitCode
from threatcloud.cli.output import safe


def refusal(status: int, **headers: str) -> Refused:
    return Refused(httpx.Response(status, headers=headers, json={"ok": False, "error": "Not now."}))


def test_a_call_is_made_again_after_the_time_the_server_asks_for() -> None:
    answers = [refusal(429, **{"Retry-After": "1"}), refusal(503, **{"Retry-After": "1"}), None]

    async def send() -> str:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return "done"

    started_s = time.monotonic()
    assert asyncio.run(patiently(send)) == "done"
    assert time.monotonic() - started_s >= 2.0


def test_a_call_that_no_waiting_helps_or_that_is_to_stop_is_refused_at_once() -> None:
    async def send(refused: Refused, stop: asyncio.Event | None) -> None:
        async def call() -> None:
            if stop is not None:
                asyncio.get_running_loop().call_later(0.05, stop.set)
            raise refused

        await patiently(call, stop)

    with pytest.raises(Refused, match="Not now") as caught:
        asyncio.run(send(refusal(403), None))
    assert caught.value.code == ExitCode.AUTH
    started_s = time.monotonic()
    with pytest.raises(Refused) as caught:
        asyncio.run(send(refusal(429, **{"Retry-After": "60"}), asyncio.Event()))
    assert caught.value.code == ExitCode.UNAVAILABLE
    assert time.monotonic() - started_s < 30


@given(st.text())
def test_what_is_printed_has_nothing_a_terminal_obeys(text: str) -> None:
    shown = safe(text)
    assert shown.isprintable()
    assert not set(shown) & set(map(chr, [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F)]))
    if text.isprintable():
        assert shown == text
