"""One line for each request that ended, as people and as programs read it."""

from __future__ import annotations

import json
import logging

import pytest

from nexus_proxy.config.model import LogFormat, LoggingConfig, LogLevel
from nexus_proxy.state import RequestView
from nexus_proxy.telemetry.logs import Logs, Redactor
from tests.contract.telemetry.mixed import mixed

SAME = (
    *("endpoint", "status", "error", "code", "stream", "cost_usd"),
    *("prompt_tokens", "completion_tokens"),
)
CLOCKS = ("route_ms", "queued_ms", "first_token_ms", "total_ms")


async def test_each_request_has_one_line_that_agrees_with_the_history(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs = Logs(LoggingConfig(format=LogFormat.JSON), secrets=(), to_stderr=True)
    async with mixed(logs=logs, logging={"format": "json"}) as load:
        await load.load()
        load.gateway.runtime.history.settle()
        views = {view.id: view for view in load.gateway.runtime.history.newest(1000)}
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [line for line in lines if line["component"] == "request"]
    assert sorted(line["request_id"] for line in told) == sorted(views)
    for line in told:
        assert_same(line, views[line["request_id"]])
    assert {line["reason"] for line in told} >= {"capability-match", "failover"}
    assert {line["code"] for line in told} >= {None, "upstream_cut", "client_left"}


def assert_same(line: dict[str, object], view: RequestView) -> None:
    assert (line["model"], line["served_model"]) == (view.model_asked, view.model)
    assert (line["backend"], line["outcome"]) == (view.backend, view.phase.value)
    assert (line["client"], line["key"]) == ("127.0.0.1", "ci")
    assert line["level"] == ("warning" if view.phase.value == "failed" else "info")
    for name in SAME:
        assert line[name] == getattr(view, name), name
    for name in CLOCKS:
        assert line[name] == rounded(getattr(view, name)), name
    assert line["connect_ms"] == (rounded(view.attempts[-1].connect_ms) if view.attempts else None)


def rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)


async def test_a_line_for_people_says_who_what_where_how_long_and_how_much() -> None:
    async with mixed() as load:
        await load.ask("gpt-4o", max_tokens=5, stream=True)
        runtime = load.gateway.runtime
        runtime.history.settle()
        (line,) = [line for line in runtime.logs.ring.lines if line.component == "request"]
    for part in (
        "chat 'gpt-4o', on cloud (capability-match), done 200, in ",
        "first token after ",
        "7+2 tokens (measured), $0.0000",
        "key ci, from 127.0.0.1",
    ):
        assert part in line.message


def test_a_level_that_is_no_longer_set_falls_back() -> None:
    debug = LoggingConfig(component_levels={"relay": LogLevel.DEBUG})
    logs = Logs(debug, secrets=(), to_stderr=False)
    logs.install()
    try:
        relay = logging.getLogger("nexus_proxy.relay")
        assert relay.isEnabledFor(logging.DEBUG)
        logs.apply(LoggingConfig())
        assert not relay.isEnabledFor(logging.DEBUG)
    finally:
        logs.remove()


@pytest.mark.parametrize(
    "key", ["sk-0123456789", "nxs-" + "s" * 43, "AIza" + "x" * 30, "Bearer abc.def"]
)
def test_what_looks_like_a_key_is_masked(key: str) -> None:
    assert Redactor()(f"it is {key}!") in ("it is [key]!", "it is Bearer [key]!")


def test_keys_learnt_later_are_masked_too() -> None:
    logs = Logs(LoggingConfig(), secrets=(), to_stderr=False)
    logs.learn(["", "x", "a-key-of-no-known-shape\n"])
    logs.install()
    try:
        logging.getLogger("nexus_proxy.relay").warning("%s", "it is a-key-of-no-known-shape")
    finally:
        logs.remove()
    assert [line.message for line in logs.ring.lines] == ["it is [key]"]
