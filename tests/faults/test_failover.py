"""A backend that fails before its first byte costs the client nothing but time."""

from __future__ import annotations

import pytest

from nexus_proxy.state import BackendState
from tests.faults.streams import stream_chat
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, Behaviour, Cut, ScriptedBackend, faults

EARLY: dict[str, Behaviour] = {
    "hangs": faults.hang,
    "hangs after headers": faults.hang_after_headers,
    "resets": faults.reset_before_headers,
    "resets after headers": faults.reset_after_headers,
    "closes": faults.close_before_headers,
    "429": faults.status(429, "slow down", headers={"retry-after": "2"}),
    "503": faults.status(503, "busy", headers={"retry-after": "1"}),
    "503 with a date": faults.status(503, headers={"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}),
    "500": faults.status(500, "boom"),
    "html with 200": faults.html,
    "garbage with 200": faults.garbage,
    "error with 200": faults.error_with_200,
    "loading": faults.loading,
    "unauthorized": faults.unauthorized,
    "model gone": faults.model_missing,
    "router lost its child": faults.router_lost_child,
}
EARLY_STREAM: dict[str, Behaviour] = {
    "cut before a token": Answer(cut=Cut.CLOSE, after=1),
    "clean end before a token": Answer(cut=Cut.CLEAN_EOF, after=1),
    "stalls before a token": Answer(cut=Cut.STALL, after=1),
    "comments for ever": Answer(cut=Cut.COMMENTS, after=1),
    "error event before a token": Answer(cut=Cut.ERROR_EVENT, after=1),
}
EARLY_WHOLE: dict[str, Behaviour] = {
    "cut in the middle of the body": Answer(cut=Cut.CLOSE),
    "reset in the middle of the body": Answer(cut=Cut.RESET),
    "stalls in the middle of the body": Answer(cut=Cut.STALL),
    "promises too much": faults.lying_length(+10),
}


@pytest.mark.parametrize("fault", [*EARLY, *EARLY_WHOLE])
async def test_a_whole_answer_comes_from_the_other(
    gateway: RunningGateway, first: ScriptedBackend, fault: str
) -> None:
    first.behave({**EARLY, **EARLY_WHOLE}[fault])
    answer = await gateway.chat()
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Hello from second."
    assert answer.headers["x-nexus-backend"] == "second"
    assert answer.headers["x-nexus-route-reason"] == "failover"
    assert len(first.generations) == 1
    assert gateway.runtime.registry.get("first").in_flight == 0


@pytest.mark.parametrize("fault", [*EARLY, *EARLY_STREAM])
async def test_a_whole_stream_comes_from_the_other(
    gateway: RunningGateway, first: ScriptedBackend, fault: str
) -> None:
    first.behave({**EARLY, **EARLY_STREAM}[fault])
    seen = await stream_chat(gateway)
    assert seen.status == 200
    assert (seen.text, seen.finish, seen.dones) == ("Hello from second.", "stop", 1)
    assert b"first" not in seen.raw
    assert gateway.runtime.registry.get("first").in_flight == 0


async def test_a_refused_connection_marks_the_backend_down_at_once_and_it_comes_back(
    gateway: RunningGateway, first: ScriptedBackend
) -> None:
    first.refuse()
    first.drop_connections()
    answer = await gateway.chat()
    assert answer.json()["choices"][0]["message"]["content"] == "Hello from second."
    assert gateway.runtime.registry.get("first").health is BackendState.DOWN
    await first.reopen()
    await gateway.up("first")
    assert (await gateway.chat()).headers["x-nexus-backend"] == "first"


async def test_a_lone_backend_is_asked_again_after_a_pause(
    gateway: RunningGateway, first: ScriptedBackend, second: ScriptedBackend
) -> None:
    await gateway.runtime.run_command("backend.drain", {"backend": "second"})
    first.behave(faults.status(503, headers={"retry-after-ms": "50"}), times=1)
    first.behave(faults.status(500), times=1)
    assert (await gateway.chat()).status_code == 200
    assert len(first.generations) == 3
    assert not second.generations


async def test_a_lone_backend_that_asks_for_long_patience_is_not_waited_for(
    gateway: RunningGateway, first: ScriptedBackend
) -> None:
    await gateway.runtime.run_command("backend.drain", {"backend": "second"})
    first.behave(faults.status(429, "come back later", headers={"retry-after": "60"}))
    answer = await gateway.chat()
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"
    assert answer.json()["error"]["message"] == "come back later"
    assert answer.headers["x-nexus-backend"] == "first"
    assert len(first.generations) == 1


async def test_the_fallback_chain_comes_after_all_backends_of_the_model(
    first: ScriptedBackend, second: ScriptedBackend
) -> None:
    from tests.support.gateway import backend_entry, running_gateway

    second.models = ["spare"]
    entries = [backend_entry("first", first.url), backend_entry("second", second.url)]
    routing = {"fallbacks": {"m": ["missing", "spare"]}, "max_retries": 0}
    async with running_gateway(entries, routing=routing) as gateway:
        first.behave(faults.status(500))
        answer = await gateway.chat()
        assert answer.status_code == 200
        assert answer.headers["x-nexus-fallback-model"] == "spare"
        assert answer.headers["x-nexus-route-reason"] == "fallback"
        assert answer.json()["model"] == "m", "the answer carries the name that was asked for"
        assert second.generations[-1].json["model"] == "spare"
        strict = await gateway.chat(headers={"X-Nexus-Strict": "1"})
        assert strict.status_code == 500


CALLER_FAULTS: dict[str, tuple[Behaviour, int, str]] = {
    "bad request": (faults.status(400, "bad role", type="invalid_request_error"), 400, "bad role"),
    "unprocessable": (faults.status(422, "no"), 422, "no"),
}


@pytest.mark.parametrize("fault", CALLER_FAULTS)
async def test_the_callers_own_mistake_is_passed_on_and_never_retried(
    gateway: RunningGateway, first: ScriptedBackend, second: ScriptedBackend, fault: str
) -> None:
    behaviour, status, message = CALLER_FAULTS[fault]
    first.behave(behaviour)
    answer = await gateway.chat()
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == message
    assert len(first.generations) == 1
    assert not second.generations
    assert gateway.runtime.registry.get("first").failures == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_an_overflow_is_worded_for_clients_when_nobody_has_more_room(
    gateway: RunningGateway, first: ScriptedBackend, second: ScriptedBackend, stream: bool
) -> None:
    first.behave(faults.overflow_llamacpp)
    second.behave(faults.overflow_vllm)
    answer = await gateway.chat(stream=stream)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    second.behave()
    assert (await gateway.chat()).headers["x-nexus-backend"] == "second"


async def test_when_all_fail_the_error_says_what_the_last_one_said(
    gateway: RunningGateway, first: ScriptedBackend, second: ScriptedBackend
) -> None:
    first.behave(faults.html)
    second.behave(faults.html)
    answer = await gateway.chat()
    assert answer.status_code == 502
    error = answer.json()["error"]
    assert error["code"] == "upstream_invalid_response"
    assert "text/html" in error["message"]
    why = gateway.runtime.history.get(answer.headers["x-request-id"])
    assert [a.backend for a in why.attempts][:2] == ["first", "second"]
    assert len(why.attempts) == 3, "the third goes to whichever pause is over first"
