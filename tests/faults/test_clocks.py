"""Each clock fires, names itself, and none fires too soon."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.streams import stream_chat
from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import Answer, Behaviour, Cut, ScriptedBackend, faults

CASES: list[tuple[str, Behaviour, dict[str, Any], bool]] = [
    ("first_token", faults.hang, {"first_token_seconds": 0.3}, False),
    ("first_token", faults.hang_after_headers, {"first_token_seconds": 0.3}, True),
    ("first_token", Answer(cut=Cut.COMMENTS, after=1), {"first_token_seconds": 0.3}, True),
    ("idle", Answer(cut=Cut.STALL, after=3), {"idle_seconds": 0.3}, True),
    ("idle", Answer(cut=Cut.COMMENTS, after=3), {"idle_seconds": 0.3}, True),
    ("total", Answer(cut=Cut.STALL, after=3), {"total_seconds": 0.3}, True),
]


@pytest.mark.parametrize(
    ("clock", "behaviour", "timeouts", "stream"),
    CASES,
    ids=[f"{c[0]}-{n}" for n, c in enumerate(CASES)],
)
async def test_the_clock_that_fires_is_named(
    clock: str, behaviour: Behaviour, timeouts: dict[str, Any], stream: bool
) -> None:
    async with (
        ScriptedBackend(name="slow") as slow,
        running_gateway(
            [backend_entry("slow", slow.url)], timeouts=timeouts, routing={"max_retries": 0}
        ) as gateway,
    ):
        slow.behave(behaviour)
        if stream:
            seen = await stream_chat(gateway)
            error = seen.error
            if error is None:
                assert seen.status == 504
                message = seen.raw.decode()
            else:
                message = error["message"]
        else:
            answer = await gateway.chat()
            assert answer.status_code == 504
            message = answer.json()["error"]["message"]
        assert f"timeouts.{clock}_seconds" in message
        assert "slow" in message
        await slow.generations[0].closed()


async def test_tokens_keep_the_idle_clock_from_firing() -> None:
    async with (
        ScriptedBackend(name="steady") as steady,
        running_gateway(
            [backend_entry("steady", steady.url)],
            timeouts={"first_token_seconds": 30.0, "idle_seconds": 30.0},
        ) as gateway,
    ):
        steady.behave(Answer(hold_before=2))
        steady.release()
        assert (await stream_chat(gateway)).error is None


async def test_a_host_that_went_silent_is_given_up_long_before_the_clock() -> None:
    async with (
        ScriptedBackend(name="frozen") as frozen,
        ScriptedBackend(name="awake") as awake,
        running_gateway(
            [
                backend_entry("frozen", frozen.url, priority=1),
                backend_entry("awake", awake.url, priority=2),
            ],
            timeouts={"first_token_seconds": 3600},
            routing={"strategy": "priority_only"},
            health_check={"enabled": False},
        ) as gateway,
    ):
        await gateway.until(lambda: bool(gateway.runtime.registry.serving("m")))
        gateway.runtime.registry.get("frozen").answers_while_busy = True
        frozen.behave(faults.hang, on="all")
        answer = await gateway.chat()
        assert answer.headers["x-nexus-backend"] == "awake"
        attempt = gateway.runtime.history.get(answer.headers["x-request-id"]).attempts[0]
        assert attempt.error is not None
        assert "went silent" in attempt.error


async def test_a_long_wait_is_filled_with_comments_and_failover_still_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nexus_proxy.relay.call.OPEN_AFTER", 0.05)
    monkeypatch.setattr("nexus_proxy.relay.call.PING_EVERY", 0.05)
    monkeypatch.setattr("nexus_proxy.relay.timeouts.TICK", 0.05)
    async with (
        ScriptedBackend(name="slow") as slow,
        ScriptedBackend(name="quick") as quick,
        running_gateway(
            [
                backend_entry("slow", slow.url, priority=1),
                backend_entry("quick", quick.url, priority=2),
            ],
            timeouts={"first_token_seconds": 0.5},
            routing={"strategy": "priority_only"},
        ) as gateway,
    ):
        slow.behave(faults.hang)
        seen = await stream_chat(gateway)
        assert seen.raw.startswith(b": ping\n")
        assert (seen.text, seen.dones) == ("Hello from quick.", 1)
        quick.behave(faults.hang)
        seen = await stream_chat(gateway)
        assert seen.status == 200
        assert seen.error is not None
        assert "timeouts.first_token_seconds" in seen.error["message"]
        assert seen.dones == 0
