"""What the filter of the requests understands, and what it says of the rest."""

from __future__ import annotations

import pytest

from nexus_proxy.state import RequestPhase
from nexus_tui.request_filter import understand
from tests.support.sample_policies import NOW
from tests.support.sample_snapshot import request, requests
from tests.tui.looking import looking


def found(text: str) -> list[str]:
    wanted = understand(text.split())
    assert wanted.problem is None
    return [view.id for view in requests() if wanted.passes(view, NOW)]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", ["req_06", "req_05", "req_04", "req_03", "req_02", "req_01", "req_00"]),
        ("model:llama", ["req_05"]),
        ("model:claude", ["req_04"]),
        ("backend:vllm", ["req_05"]),
        ("client:192.168", ["req_04"]),
        ("status:error", ["req_02"]),
        ("status:running", ["req_06", "req_05", "req_04", "req_00"]),
        ("status:queued", ["req_00"]),
        ("phase:streaming", ["req_04"]),
        ("status:502", ["req_02"]),
        ("status:4xx", ["req_01"]),
        (">5s status:running", ["req_04"]),
        ("<500ms", ["req_06"]),
        (">0.1m", ["req_04", "req_03", "req_02", "req_01"]),
        ("closed the", ["req_02"]),
        ("status:error !backend:attic", []),
        ("!status:running !status:ok", ["req_02", "req_01"]),
        ("id:req_03", ["req_03"]),
        ("key:", ["req_06", "req_05", "req_04", "req_03", "req_02", "req_01", "req_00"]),
    ],
)
def test_terms(text: str, ids: list[str]) -> None:
    assert found(text) == ids


def test_the_name_of_a_model_with_a_colon_is_plain_text() -> None:
    wanted = understand(["qwen3:8b"])
    assert wanted.problem is None
    assert wanted.passes(request(), NOW)
    assert not wanted.passes(request(model="llava:13b", model_asked="llava:13b"), NOW)


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("modle:x", "did you mean model: ?"),
        ("backends:x", "did you mean backend: ?"),
        ("status:fine", "it is ok, error, running"),
        (">fast", "write >2s, <500ms"),
    ],
)
def test_what_is_not_understood_is_said_and_the_rest_still_counts(term: str, says: str) -> None:
    wanted = understand([term, "status:error"])
    assert wanted.problem is not None
    assert says in wanted.problem
    assert wanted.passes(request(phase=RequestPhase.FAILED), NOW)
    assert not wanted.passes(request(), NOW)


async def test_it_is_typed_into_the_bar_which_says_how_many_and_what_is_wrong() -> None:
    async with looking(size=(120, 30), tab="requests") as look:
        await look.press("slash")
        await look.sees("model: backend:")
        await look.type("status:error")
        await look.sees("1 of 7", "llamacpp-attic")
        await look.press("escape", "slash")
        await look.type("modle:x")
        await look.sees("did you mean model: ?")
        await look.press("escape", "question_mark")
        await look.until(lambda: look.app.screen is not look.dashboard)
        await look.press("G")
        await look.sees("Filter of the requests", "status:word")
