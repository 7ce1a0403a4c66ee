"""The playground: asks over HTTP as a tool does, draws what comes, keeps nothing."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual import events

from nexus_proxy.cli.talk import MOST_CHARACTERS, Answer, Message, Piece
from nexus_proxy.errors import CommandError
from nexus_tui.app import NexusApp
from nexus_tui.flow import Flow
from nexus_tui.source.attached import HttpSource
from nexus_tui.source.base import Source
from nexus_tui.source.in_process import RuntimeSource
from nexus_tui.widgets.chat_log import ChatLog
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.nasty_names import NASTY
from tests.support.scripted import Answer as Scripted
from tests.support.scripted import Cut, ScriptedBackend
from tests.tui.looking import Looking, looking
from tests.tui.scripted import ScriptedSource

SIZE = (80, 24)


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="one") as backend:
        yield backend


@pytest.fixture
async def gateway(backend: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    async with running_gateway([backend_entry("one", backend.url)]) as running:
        yield running


@asynccontextmanager
async def chatting(source: Source) -> AsyncIterator[Looking]:
    """The screen with the playground open on the first backend's model, by its key."""
    app = NexusApp(source)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        look = Looking(pilot, app, ScriptedSource())
        await look.until(lambda: look.dashboard.snapshot is not None)
        await look.press("2")
        await look.sees("● up")
        await look.press("c")
        await look.sees("model one/m")
        yield look


def asked(backend: ScriptedBackend) -> list[list[tuple[str, str]]]:
    """What the backend was sent, as roles and texts."""
    return [
        [(one["role"], one["content"]) for one in request.json["messages"]]
        for request in backend.generations
    ]


async def test_an_answer_streams_in_and_is_accounted_for(
    backend: ScriptedBackend, gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend.behave(
        Scripted(text=("Grüezi ", "漢字 ", "[bold]not markup[/]"), hold_before=2), times=1
    )
    backend.behave(Scripted(text=("Again.",)), times=1)
    backend.behave(Scripted(text=("And again.",)), times=1)
    async with chatting(RuntimeSource(gateway.runtime)) as look:
        await look.type("two")
        await look.press("ctrl+j")
        await look.type("lines")
        await look.press("enter")
        await look.sees("» streaming", "two", "lines", "Grüezi")
        assert "done" not in look.text
        backend.release()
        await look.sees("✓ done", "Grüezi 漢字 [bold]not markup[/]", "first token", "measured")
        await look.type("more")
        await look.press("enter")
        await look.sees("Again.")
        await look.sees("✓ done")
        await look.press("ctrl+r")
        await look.sees("And again.")
        assert asked(backend)[2] == asked(backend)[1]
        assert asked(backend)[1] == [
            ("user", "two\nlines"),
            ("assistant", "Grüezi 漢字 [bold]not markup[/]"),
            ("user", "more"),
        ]
        await look.press("ctrl+y")
        await look.told("Copied 10 characters")
        assert look.app.clipboard == "And again."
        await look.press("ctrl+l")
        await look.until(lambda: "Again." not in look.text)
        await look.press("ctrl+s")
        await look.type("Be brief.")
        await look.press("enter")
        await look.type("hello")
        await look.press("enter")
        await look.sees("✓ done")
        assert asked(backend)[3] == [("system", "Be brief."), ("user", "hello")]
    assert "Grüezi" not in caplog.text
    assert "Be brief" not in caplog.text


async def test_keys_do_not_overtake_what_was_typed_right_before_them(
    backend: ScriptedBackend, gateway: RunningGateway
) -> None:
    async with chatting(RuntimeSource(gateway.runtime)) as look:
        for key in [*"two", "ctrl+j", *"lines", "enter"]:
            look.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await look.sees("✓ done")
    assert asked(backend) == [[("user", "two\nlines")]]


async def test_esc_stops_upstream_too_and_then_leaves_the_input(
    backend: ScriptedBackend, gateway: RunningGateway
) -> None:
    backend.behave(Scripted(cut=Cut.STALL, after=3))
    async with chatting(RuntimeSource(gateway.runtime)) as look:
        await look.type("hello")
        await look.press("enter")
        await look.sees("» streaming")
        await look.press("escape")
        await backend.generations[0].closed()
        await look.sees("⊘ stopped", "⊘ cancelled")
        await look.press("escape")
        await look.until(lambda: isinstance(look.app.focused, ChatLog))
        await look.press("2")
        await look.until(lambda: look.dashboard.pane.id == "backends-pane")


async def test_an_error_is_told_in_the_gateways_words_also_when_attached(
    backend: ScriptedBackend, gateway: RunningGateway
) -> None:
    backend.behave(Scripted(text=("Some of it",), cut=Cut.CLOSE, after=2), times=1)
    source = HttpSource(gateway.url)
    await source.open()
    try:
        async with chatting(source) as look:
            await look.type("hello")
            await look.press("enter")
            await look.sees("✕ failed", "✕ ")
            with pytest.raises(CommandError, match="no-such-model"):
                await source.chat("no-such-model", [Message("user", "x")], Answer())
            await look.type("again")
            await look.press("enter")
            await look.sees("✓ done")
    finally:
        await source.close()


async def test_the_picker_narrows_down_and_chooses(backend: ScriptedBackend) -> None:
    routing = {"aliases": {"gpt/漢]": "m", "claude-*": "m"}}
    entries = [backend_entry("one", backend.url)]
    async with (
        running_gateway(entries, routing=routing) as gateway,
        chatting(RuntimeSource(gateway.runtime)) as look,
    ):
        await look.press("ctrl+o")
        await look.sees("Chat with which model?", "on one", "→ m")
        assert "claude" not in look.text
        await look.type("gpt")
        await look.until(lambda: "on one" not in look.text)
        await look.press("enter")
        await look.sees("model gpt/漢]")
        await look.type("hello")
        await look.press("enter")
        await look.sees("✓ done", "one")


async def test_reasoning_is_marked_with_words_and_never_sent_back() -> None:
    source = ScriptedSource()
    source.says = [Piece(True, "Let me see."), Piece(False, "Four.")]
    async with looking(source, size=SIZE) as look:
        await look.press("c")
        for _ in range(2):
            await look.type("two and two?")
            await look.press("enter")
            await look.sees("· reasoning", "Let me see.", "· answer", "Four.", "✓ done")
        assert [one.role for one in source.asked[1]] == ["user", "assistant", "user"]
        assert source.asked[1][1].text == "Four."


async def test_hostile_answers_and_sizes_leave_the_screen_whole() -> None:
    source = ScriptedSource()
    source.says = [Piece(number % 2 == 0, f"{name}\n") for number, name in enumerate(NASTY)]
    async with looking(source, size=SIZE) as look:
        await look.press("c")
        await look.type("漢字" * 100)
        await look.press("enter")
        await look.sees("✓ done")
        for width, height in [(40, 10), (250, 70), (61, 17), (120, 35), (80, 24)]:
            await look.pilot.resize_terminal(width, height)
            await look.pilot.pause(0.15)
        await look.press("escape", "g", "G")
        lines = look.text.split("\n")
        assert len(lines) == 24
        assert all(cell_len(line) <= 80 for line in lines)
        assert "\x1b" not in look.text


def test_an_answer_without_end_is_bounded() -> None:
    answer, thousand = Answer(), Piece(False, "x" * 1000)
    for _ in range(MOST_CHARACTERS // 1000):
        answer.add(thousand)
    with pytest.raises(CommandError, match="Stopped after"):
        answer.add(thousand)


WORDS = st.lists(
    st.sampled_from(["a", "bc ", " ", "\n", "漢", "é́́́", "longerthanarow", "\t", "\r\n"])
)


@given(pieces=WORDS, width=st.integers(2, 12))
def test_rows_do_not_depend_on_the_pieces(pieces: list[str], width: int) -> None:
    grown, whole = Flow(width), Flow(3)
    for piece in pieces:
        grown.add(piece)
    whole.add("".join(pieces))
    whole.reflow(width)
    assert [row.text for row in grown.rows] == [row.text for row in whole.rows][: len(grown.rows)]
    assert all(cell_len(row.text.rstrip()) <= width for row in grown.rows)
