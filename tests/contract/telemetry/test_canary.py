"""A prompt, an answer and keys are nowhere but with who sent them: a canary looks everywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.client import connect

from nexus_proxy.config.model import LogFormat, LoggingConfig, LogLevel
from nexus_proxy.tasks import spawn
from nexus_proxy.telemetry.logs import Logs
from nexus_tui.app import NexusApp
from nexus_tui.screens.dashboard import Dashboard
from nexus_tui.source.in_process import RuntimeSource
from tests.contract.telemetry.mixed import ANSWER, PROMPT, PROVIDER, SECRET, Mixed, mixed
from tests.support.gateway import PATIENCE
from tests.support.scripted import faults

ROUTES = (
    "/metrics",
    "/v1/stats",
    "/v1/history?limit=1000",
    "/v1/models",
    "/v1/lifecycle/operations",
    "/v1/fleet/recommendations",
    "/api/tags",
    "/health",
    "/nexus/v1/state",
    "/nexus/v1/requests",
    "/nexus/v1/logs",
    "/nexus/v1/models",
    "/nexus/v1/queue",
    "/nexus/v1/quality",
    "/nexus/v1/spend",
    "/nexus/v1/keys",
    "/nexus/v1/config",
)


@pytest.mark.parametrize("style", LogFormat)
async def test_nothing_that_was_said_and_no_key_is_kept_or_told(
    style: LogFormat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = Logs(LoggingConfig(level=LogLevel.DEBUG, format=style), secrets=(), to_stderr=True)
    logging = {"level": "debug", "format": style.value}
    state = tmp_path / "state.db"
    told: list[str] = []
    async with mixed(logs=logs, logging=logging, state={"path": str(state)}) as load:
        await load.load()
        # Backends quote what they refuse, and one quotes the key that it does not know.
        for quoting in (
            faults.status(400, f"cannot tokenize 'x {PROMPT}', sorry"),
            faults.status(500, f"crashed at {PROMPT!r}"),
            faults.status(401, f"Incorrect API key provided: {PROVIDER}"),
            faults.raw(200, json.dumps({"error": {"message": PROMPT}}).encode()),
        ):
            load.cloud.behave(quoting, times=3)
            await load.ask("gpt-4o", max_tokens=5)
            load.cloud.behave()
        told += await look_everywhere(load)
        assert any(PROMPT in request.body.decode() for request in load.cloud.generations)
    stderr = capsys.readouterr().err
    assert "nobody-has-this" in stderr
    assert "cannot tokenize 'x […]', sorry" in stderr
    told += [stderr, *(line.message for line in logs.ring.lines)]
    whole = "\n".join(told).encode() + kept_in(state)
    for canary in (PROMPT, ANSWER, SECRET, PROVIDER, SECRET[4:], PROVIDER[3:]):
        assert canary.encode() not in whole, canary


async def test_no_screen_and_no_socket_shows_it() -> None:
    logs = Logs(LoggingConfig(level=LogLevel.DEBUG), secrets=(), to_stderr=False)
    async with mixed(logs=logs) as load:
        async with listening(load, until="cannot tokenize") as (heard, came):
            await load.load()
            quoting = faults.status(400, f"cannot tokenize 'x {PROMPT}', sorry")
            load.cloud.behave(quoting, times=1)
            await load.ask("gpt-4o", max_tokens=5)
            async with asyncio.timeout(PATIENCE):
                await came.wait()
        page = await load.gateway.client.get("/", headers={"accept": "text/html"})
        told = [page.text, *await screens(load)]
        for view in load.gateway.runtime.snapshot().requests:
            why = await load.gateway.client.get(f"/nexus/v1/why/{view.id}")
            told.append(why.text)
    whole = "\n".join([*told, *heard])
    for seen in ("gpt-4o", "cannot tokenize", "sorry"):
        assert sum(seen in text for text in told) >= 2, f"{seen}: else nobody looked"
    for canary in (PROMPT, ANSWER, SECRET, PROVIDER, SECRET[4:], PROVIDER[3:]):
        assert canary not in whole, canary


@asynccontextmanager
async def listening(load: Mixed, *, until: str) -> AsyncIterator[tuple[list[str], asyncio.Event]]:
    """All that the dashboard's socket and the event stream tell; the event is set once something
    with `until` in it came."""
    heard, came = list[str](), asyncio.Event()

    def hear(told: str) -> None:
        heard.append(told)
        if until in told:
            came.set()

    url = load.gateway.url.replace("http", "ws", 1) + "/ws"

    async def read_socket() -> None:
        async with connect(url, max_size=None, proxy=None, open_timeout=PATIENCE) as socket:
            async for message in socket:
                hear(str(message))

    async def read_events() -> None:
        async with load.gateway.client.stream("GET", "/nexus/v1/events") as answer:
            async for line in answer.aiter_lines():
                hear(line)

    reading = [spawn(one(), name="listening") for one in (read_socket, read_events)]
    try:
        yield heard, came
    finally:
        for task in reading:
            task.cancel()


async def screens(load: Mixed) -> list[str]:
    """The tabs of the terminal UI that tell of requests and keys, and the story of the newest
    request, as text."""
    app = NexusApp(RuntimeSource(load.gateway.runtime))
    seen = []
    async with app.run_test(size=(140, 40)) as pilot:
        dashboard = app.screen_stack[0]
        assert isinstance(dashboard, Dashboard)
        while dashboard.snapshot is None:
            await pilot.pause(0.01)
        for tab in ("overview", "spend", "keys", "logs", "requests"):
            dashboard.action_pane(tab)
            await pilot.pause()
            seen.append(shown(app))
        await pilot.press("enter")
        await pilot.pause()
        seen.append(shown(app))
    return seen


def shown(app: NexusApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


@pytest.mark.parametrize("style", LogFormat)
async def test_content_logging_tells_it_in_the_lines_of_requests_and_nowhere_else(
    style: LogFormat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = LoggingConfig(format=style, enable_content_logging=True)
    logs = Logs(config, secrets=(PROVIDER,), to_stderr=True)
    logging = {"format": style.value, "enable_content_logging": True}
    state = tmp_path / "state.db"
    async with mixed(logs=logs, logging=logging, state={"path": str(state)}) as load:
        await load.load()
        keys = f"my key is {PROVIDER}, or {SECRET}"
        await load.gateway.client.post(
            "/v1/messages",
            json={"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": keys}]},
            headers={"authorization": bearer()},
        )
        elsewhere = await look_everywhere(load, but_logs=True)
        assert all(r.said is None for r in load.gateway.runtime.history._finished)
        assert any("content logging is on" in p for p in load.gateway.runtime.snapshot().problems)
    lines = capsys.readouterr().err.splitlines()
    assert sum("content logging is on" in line for line in lines) == 1
    told = [line for line in lines if " request " in line or '"request"' in line]
    assert all(line in told for line in lines if PROMPT in line or ANSWER in line)
    assert sum(PROMPT in line for line in told) == len(told) - 2, "but embeddings, and the last"
    assert sum(ANSWER in line for line in told) == 5, "whole and streamed"
    assert "my key is [key], or [key]" in told[-1]
    assert "Hello from one." in told[-1]
    whole = "\n".join(elsewhere).encode() + kept_in(state)
    for canary in (PROMPT, ANSWER, SECRET, PROVIDER):
        assert canary.encode() not in whole, canary
    for key in (SECRET, PROVIDER):
        assert not any(key in line for line in lines)


async def look_everywhere(load: Mixed, *, but_logs: bool = False) -> list[str]:
    """All that the gateway tells anybody; on request without the lines of its log."""
    told: list[str] = []
    for route in ROUTES:
        if but_logs and route == "/nexus/v1/logs":
            continue
        answer = await load.gateway.client.get(route, headers={"authorization": bearer()})
        assert answer.status_code == 200, route
        text = answer.text
        if but_logs and route == "/nexus/v1/state":
            text = json.dumps({**answer.json(), "logs": ()})
        told += [text, repr(answer.headers)]
    snapshot = load.gateway.runtime.snapshot()
    if but_logs:
        snapshot = msgspec.structs.replace(snapshot, logs=())
    return [*told, msgspec.json.encode(snapshot).decode()]


def kept_in(state: Path) -> bytes:
    """All that is in the state file and its companions."""
    kept = [path.read_bytes() for path in state.parent.glob("state.db*")]
    assert any(b"gpt-4o" in data for data in kept)
    return b"".join(kept)


def bearer() -> str:
    return f"Bearer {SECRET}"
