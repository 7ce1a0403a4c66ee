"""Each key runs the right verb with the right arguments, and its result is seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from nexus_proxy.commands import Result
from nexus_tui.palette import offers
from nexus_tui.screens.modal import Confirm, TypeName
from nexus_tui.widgets.filter_bar import FilterBar
from tests.support.sample_snapshot import backend, empty_snapshot, snapshot
from tests.tui.looking import looking
from tests.tui.scripted import ScriptedSource


@pytest.mark.parametrize(
    ("keys", "verb", "arguments"),
    [
        ("d", "backend.drain", {"backend": "ollama"}),
        ("x", "backend.remove", {"backend": "ollama"}),
        ("y", "backend.accept", {"backend": "ollama"}),
        ("r", "backend.check", {"backend": "ollama"}),
        ("plus", "backend.priority", {"backend": "ollama", "priority": 40}),
        ("minus", "backend.priority", {"backend": "ollama", "priority": 60}),
        ("z up enter", "backend.zone", {"backend": "ollama", "zone": "confidential"}),
        ("t comma g p u enter", "backend.tags", {"backend": "ollama", "tags": "laptop,gpu"}),
        ("p down enter", "backend.pin", {"backend": "ollama", "model": "llava:13b"}),
        ("p enter", "backend.unpin", {"model": "qwen3:8b"}),
        ("j p", "backend.pin", {"backend": "vllm-b", "model": "meta-llama/Llama-3.3-70B-Instruct"}),
        ("j j j d", "backend.resume", {"backend": "lmstudio"}),
        ("3 p", "backend.pin", {"backend": "openai", "model": "gpt-5-mini"}),
        ("3 G p", "backend.unpin", {"model": "qwen3:8b"}),
        ("4 j d", "backend.drain", {"backend": "vllm-b"}),
        ("4 X", "request.cancel", {"request": "req_06"}),
        ("4 j enter X", "request.cancel", {"request": "req_05"}),
        ("enter d", "backend.drain", {"backend": "ollama"}),
        (
            "4 j enter p",
            "backend.pin",
            {"backend": "vllm-b", "model": "meta-llama/Llama-3.3-70B-Instruct"},
        ),
    ],
)
async def test_key(keys: str, verb: str, arguments: dict[str, Any]) -> None:
    async with looking() as look:
        await look.press(*keys.split())
        await look.told(f"ran {verb}")
        assert look.source.ran == [(verb, arguments)]


@pytest.mark.parametrize("key", ["escape", "n", "enter"])
async def test_a_question_is_asked_first_and_cancel_has_the_focus(key: str) -> None:
    source = ScriptedSource()
    source.questions["backend.drain"] = "Drain ollama? 1 request in flight will finish"
    async with looking(source) as look:
        await look.press("d")
        await look.until(lambda: isinstance(look.app.screen, Confirm))
        assert "1 request in flight will finish" in look.text
        assert look.app.focused is not None
        assert look.app.focused.id == "cancel"
        await look.press(key)
        await look.until(lambda: look.app.screen is look.dashboard)
        assert source.ran == []


async def test_y_agrees() -> None:
    source = ScriptedSource()
    source.questions["backend.remove"] = "Remove ollama?"
    async with looking(source) as look:
        await look.press("x")
        await look.sees("Remove ollama?")
        await look.press("y")
        await look.told("ran backend.remove")


async def test_loosening_a_zone_takes_typing_the_name() -> None:
    source = ScriptedSource()
    source.questions["backend.zone"] = "Move ollama from open to restricted?"
    async with looking(source) as look:
        await look.press("z", "enter")
        await look.until(lambda: isinstance(look.app.screen, TypeName))
        await look.type("olama")
        await look.press("enter")
        await look.sees("That is not ollama")
        assert source.ran == []
        await look.press(*["backspace"] * 5)
        await look.type("ollama")
        await look.press("enter")
        await look.told("ran backend.zone")


@pytest.mark.parametrize("key", ["r", "plus", "d"])
async def test_a_refusal_is_told_with_its_reason(key: str) -> None:
    source = ScriptedSource()
    source.refusal = "no backend is called 'x[/foo]'"
    async with looking(source) as look:
        await look.press(key)
        await look.told("no backend is called 'x[/foo]'")


class BrokenSource(ScriptedSource):
    """Has bugs of its own, as no source should."""

    async def consequence(self, name: str, arguments: Mapping[str, Any]) -> str | None:
        raise ZeroDivisionError("oops")

    async def run(self, name: str, arguments: Mapping[str, Any]) -> Result:
        raise ZeroDivisionError("oops")


async def test_a_bug_on_the_way_to_a_verb_leaves_the_screen_up() -> None:
    async with looking(BrokenSource()) as look:
        await look.press("d")
        await look.told("ZeroDivisionError('oops')")
        await look.press("a")
        await look.type("http://h")
        await look.press("enter")
        await look.sees("ZeroDivisionError('oops')", "Add a backend")


async def test_add_shows_what_came_of_it_beside_the_url() -> None:
    source = ScriptedSource()
    source.refusal = "nothing answers at http://h:1: connection refused"
    async with looking(source) as look:
        await look.press("a")
        await look.type("http://h:1")
        await look.press("enter")
        await look.sees("connection refused")
        source.refusal = None
        source.answers.clear()
        await look.press("enter")
        await look.sees("Asking http://h:1 what it is")
        source.answers.set()
        await look.told("ran backend.add")
        assert source.ran == [("backend.add", {"url": "http://h:1"})]
        assert look.app.screen is look.dashboard


async def test_leaving_the_add_screen_ends_the_question() -> None:
    source = ScriptedSource()
    source.answers.clear()
    async with looking(source) as look:
        await look.press("a", "h", "enter")
        await look.sees("what it is")
        await look.press("escape")
        source.answers.set()
        await look.press("r")
        await look.told("ran backend.check")
        assert source.ran == [("backend.check", {"backend": "ollama"})]


async def test_nothing_to_act_on_says_what_to_do() -> None:
    async with looking(ScriptedSource(empty_snapshot())) as look:
        await look.press("d")
        await look.told("Press a to add one")


async def test_a_request_without_a_backend_asks_which() -> None:
    async with looking() as look:
        await look.press("4", "r")
        await look.sees("which backend?")
        await look.press("down", "enter")
        await look.told("ran backend.check")
        assert look.source.ran == [("backend.check", {"backend": "vllm-b"})]


async def test_read_only_takes_no_verbs_and_shows_none() -> None:
    source = ScriptedSource(attached=True)
    source.read_only = True
    async with looking(source) as look:
        await look.press("d", "x", "plus", "a")
        assert source.ran == []
        assert look.app.screen is look.dashboard
        assert "Drain" not in look.text


async def test_logs_offer_no_verbs_on_backends() -> None:
    async with looking() as look:
        await look.press("8", "d", "x")
        assert look.source.ran == []
        assert "Drain" not in look.text


async def test_typing_in_the_filter_runs_no_verb() -> None:
    async with looking() as look:
        await look.press("slash")
        await look.type("drxq")
        assert look.source.ran == []
        assert look.pane.query_one(FilterBar).words == ("drxq",)


async def test_priority_never_falls_below_zero() -> None:
    source = ScriptedSource(snapshot(backends=(backend(priority=4),)))
    async with looking(source) as look:
        await look.press("plus")
        await look.told("ran backend.priority")
        assert source.ran[0][1]["priority"] == 0


async def test_a_key_is_revoked_from_the_palette_after_a_question() -> None:
    async with looking() as look:
        look.source.questions["key.revoke"] = "Revoke phone?"
        (offer,) = [one for one in offers(look.source.snapshot()) if "phone" in one.text]
        assert offer.text == "Revoke the key phone"
        look.app.perform(offer.verb, offer.selection, **offer.given)
        await look.sees("Revoke phone?")
        await look.press("y")
        await look.until(lambda: bool(look.source.ran))
        assert look.source.ran == [("key.revoke", {"key": "phone"})]
