"""Both sources: the runtime in this process, and a gateway behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from nexus_proxy.commands import Result
from nexus_proxy.errors import CommandError, GatewayUnreachableError
from nexus_proxy.events import BackendAdded, Bus
from nexus_proxy.telemetry.history import History
from nexus_tui.source.attached import HttpSource
from nexus_tui.source.in_process import RuntimeSource
from tests.support.sample_snapshot import backend, snapshot
from tests.tui.scripted_management import ScriptedManagement, scripted_management

PATIENCE = 10.0


class Changes:
    """Waits for what `subscribe` tells."""

    def __init__(self) -> None:
        self._happened = asyncio.Event()

    def __call__(self) -> None:
        self._happened.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self._happened.wait()
                self._happened.clear()


@asynccontextmanager
async def attached(
    management: ScriptedManagement, key: str | None = None
) -> AsyncIterator[tuple[HttpSource, Changes]]:
    source, changes = HttpSource(management.url, key=key), Changes()
    await source.open()
    unsubscribe = source.subscribe(changes)
    try:
        yield source, changes
    finally:
        unsubscribe()
        await source.close()


async def test_the_state_comes_over_whole() -> None:
    async with scripted_management() as management, attached(management) as (source, _):
        shown = source.snapshot()
        assert shown.backends == management.shown.backends
        assert shown.requests == management.shown.requests
        assert (source.title, shown.endpoint) == ("attached", management.url)


async def test_an_event_brings_the_new_state() -> None:
    async with scripted_management() as management, attached(management) as (source, changes):
        await changes.until(lambda: bool(management.listeners))
        management.shown = snapshot(backends=(backend("new"),))
        await management.publish()
        await changes.until(lambda: [b.name for b in source.snapshot().backends] == ["new"])


async def test_clocks_go_on_between_events() -> None:
    async with scripted_management() as management, attached(management) as (source, _):
        assert management.shown.taken_at <= source.snapshot().taken_at < source.snapshot().taken_at


async def test_a_gateway_that_goes_away_is_a_problem_until_it_is_back() -> None:
    async with scripted_management() as management, attached(management) as (source, changes):
        await changes.until(lambda: bool(management.listeners))
        await management.stop()
        await changes.until(lambda: "No connection" in source.snapshot().problems[0])
        assert source.snapshot().backends == management.shown.backends
        assert source.snapshot().taken_at == source.snapshot().taken_at
        management.shown = snapshot(problems=())
        await management.start()
        await changes.until(lambda: source.snapshot().problems == ())


async def test_a_verb_goes_over_with_its_arguments() -> None:
    async with scripted_management() as management, attached(management) as (source, _):
        result = await source.run("backend.drain", {"backend": "ollama"})
        assert result.message == "ran /nexus/v1/commands/backend.drain"
        assert result.data == {"n": 1}
        assert await source.consequence("backend.drain", {"backend": "ollama"}) == "Really?"
        assert [path for path, _ in management.posted] == [
            "/nexus/v1/commands/backend.drain",
            "/nexus/v1/commands/backend.drain/consequence",
        ]
        assert all(body == {"backend": "ollama"} for _, body in management.posted)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (409, {"error": {"message": "no such backend"}}, "no such backend"),
        (500, b"<html>oops</html>", "The gateway answered with status 500."),
        (404, {"error": "gone"}, "gone"),
    ],
)
async def test_a_refusal_keeps_its_reason(status: int, body: object, message: str) -> None:
    async with scripted_management() as management, attached(management) as (source, _):
        management.answers["/nexus/v1/commands/backend.drain"] = (status, body)
        with pytest.raises(CommandError, match=message):
            await source.run("backend.drain", {})
        assert not source.read_only


async def test_a_key_that_only_lets_look_makes_it_read_only() -> None:
    async with scripted_management() as management, attached(management) as (source, changes):
        assert not source.read_only
        await changes.until(lambda: bool(management.listeners))
        management.access = "read-only"
        await management.publish()
        await changes.until(lambda: source.read_only)
        assert source.title == "attached read-only"


async def test_who_wants_to_look_only_gets_no_more() -> None:
    async with scripted_management() as management:
        source = HttpSource(management.url, read_only=True)
        await source.open()
        assert source.read_only
        await source.close()


@pytest.mark.parametrize("status", [401, 403])
async def test_without_any_key_it_says_which_ones_there_are(status: int) -> None:
    async with scripted_management() as management:
        management.answers["/nexus/v1/state"] = (status, {})
        source = HttpSource(management.url)
        with pytest.raises(CommandError, match=r"management key.*nexus keys create NAME --watch"):
            await source.open()
        await source.close()


async def test_the_key_goes_along_and_shows_nowhere() -> None:
    async with scripted_management() as management, attached(management, "s3cret") as (source, _):
        assert management.keys == {"bearer s3cret"}
        assert "s3cret" not in repr(source) + repr(vars(source)) + repr(vars(source._client))


async def test_nobody_there() -> None:
    async with scripted_management() as management:
        await management.stop()
        source = HttpSource(management.url)
        with pytest.raises(GatewayUnreachableError, match="nexus serve"):
            await source.open()
        await source.close()
        await management.start()


@pytest.mark.parametrize(
    "url", ["", "foo", "localhost:8000", "ftp://h", "http://h:99999", "http://\x00", "http://"]
)
def test_no_url_at_all(url: str) -> None:
    with pytest.raises(CommandError, match="is not the URL of a gateway"):
        HttpSource(url)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, {}), "management key"),
        ((200, b"<html>router login</html>"), "not a Nexus gateway"),
        ((200, {"taken_at": 1}), "not a Nexus gateway"),
        ((500, {"error": {"message": "broken"}}), "broken"),
    ],
)
async def test_somebody_else_there(answer: tuple[int, object], message: str) -> None:
    async with scripted_management() as management:
        management.answers["/nexus/v1/state"] = answer
        source = HttpSource(management.url)
        with pytest.raises(CommandError, match=message):
            await source.open()
        await source.close()


class StubRuntime:
    """As much of a runtime as a source touches."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.history = History(self.bus)
        self.failure: Exception | None = None

    async def run_command(self, name: str, arguments: Mapping[str, Any]) -> Result:
        if self.failure is not None:
            raise self.failure
        return Result(message=f"{name} {dict(arguments)}")


def in_process() -> tuple[StubRuntime, RuntimeSource]:
    runtime = StubRuntime()
    stands_in: Any = runtime
    return runtime, RuntimeSource(stands_in)


async def test_in_process_events_are_heard_until_the_end() -> None:
    runtime, source = in_process()
    heard: list[int] = []
    unsubscribe = source.subscribe(lambda: heard.append(1))
    runtime.bus.publish(BackendAdded(name="a"))
    unsubscribe()
    runtime.bus.publish(BackendAdded(name="b"))
    assert heard == [1]


async def test_a_bug_in_a_verb_is_told_like_any_refusal() -> None:
    runtime, source = in_process()
    assert (await source.run("x", {"a": 1})).message == "x {'a': 1}"
    runtime.failure = CommandError("no")
    with pytest.raises(CommandError, match=r"^no$"):
        await source.run("x", {})
    runtime.failure = ZeroDivisionError("oops")
    with pytest.raises(CommandError, match="x failed: ZeroDivisionError"):
        await source.run("x", {})
