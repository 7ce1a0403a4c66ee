"""Nothing that the network sends, and nothing that a terminal does, takes the screen down."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec
import pytest
from textual.events import Resize
from textual.geometry import Size

from nexus_proxy.commands import Result
from nexus_proxy.state import (
    AttemptView,
    BackendState,
    CandidateView,
    DecisionView,
    LogLine,
    ModelInfo,
    RejectionView,
    RequestView,
    Snapshot,
)
from nexus_tui.format import Moment
from nexus_tui.screens.backend_detail import backend_story
from nexus_tui.screens.dashboard import TOO_SMALL
from nexus_tui.screens.quality_detail import quality_story
from nexus_tui.screens.request_detail import request_story
from nexus_tui.wrapping import wrapped
from tests.support.nasty_names import NASTY
from tests.support.sample_policies import NOW, quality
from tests.support.sample_snapshot import DECISION, backend, request, snapshot
from tests.tui.looking import Looking, looking
from tests.tui.scripted import ScriptedSource


def nasty_request(number: int, name: str) -> RequestView:
    decision: DecisionView = msgspec.structs.replace(
        DECISION,
        model_asked=name,
        model=name,
        path=(name, name),
        needs=(name,),
        strategy=name,
        route_reason=name,
        stages=((name, name),),
        candidates=(CandidateView(backend=name, model=name, score=1.0, parts={name: 1.0}),),
        rejections=(RejectionView(backend=name, model=name, stage=name, reason=name, fix=name),),
    )
    attempt = AttemptView(
        backend=name,
        model=name,
        started=NOW,
        connect_ms=None,
        first_token_ms=None,
        total_ms=None,
        error=name,
    )
    return request(
        f"{number}{name}",
        endpoint=name,
        client=name,
        model_asked=name,
        model=name,
        backend=name,
        error=name,
        usage_source=name,
        finish_reason=name,
        decision=decision,
        attempts=(attempt,),
    )


def nasty_snapshot() -> Snapshot:
    """Every string that is foreign, as bad as can be."""
    models = [
        ModelInfo(id=f"{name}{n}", quantization=name, parameters=name, aliases=(name,))
        for n, name in enumerate(NASTY)
    ]
    return snapshot(
        endpoint=NASTY[0],
        version=NASTY[1],
        strategy=NASTY[2],
        backends=tuple(
            backend(
                f"{name}{number}",
                url=name,
                origin=name,
                version=name,
                reason=name,
                state=list(BackendState)[number % len(BackendState)],
                tags=(name, name),
                pinned_models=(name,),
                models=tuple(models[number : number + 3]),
                recent_errors=(name,),
            )
            for number, name in enumerate(NASTY)
        ),
        requests=tuple(nasty_request(n, name) for n, name in enumerate(NASTY)),
        logs=tuple(
            LogLine(at=NOW + n, level=name, component=name, message=name)
            for n, name in enumerate(NASTY)
        ),
        quality=tuple(quality(f"{name}{n}", name, reason=name) for n, name in enumerate(NASTY)),
        pins={name: name for name in NASTY},
        aliases={name: name for name in NASTY},
        problems=NASTY,
        searching=NASTY,
    )


class NastySource(ScriptedSource):
    """Whose answers are no better than its names."""

    name = NASTY[0]

    async def consequence(self, name: str, arguments: Any) -> str | None:
        return f"{self.name}?"

    async def run(self, name: str, arguments: Any) -> Result:
        self.ran.append((name, dict(arguments)))
        return Result(message=self.name)


FORBIDDEN = {"Cc", "Cf", "Cs", "Co"}
STEP = 9
"""Names are looked at several at a time: the tables show a screenful of them."""


def harmless(look: Looking) -> bool:
    shown = look.text.replace("\n", "")
    return not [c for c in shown if unicodedata.category(c) in FORBIDDEN]


async def test_nasty_names_on_every_screen() -> None:
    async with looking(ScriptedSource(nasty_snapshot()), size=(140, 40)) as look:
        await look.press("1")
        assert harmless(look)
        for tab in "2345":
            await look.press(tab, "g")
            assert harmless(look)
            for _ in NASTY[::STEP]:
                await look.press("enter")
                assert harmless(look)
                await look.press("escape")
                look.pane.table.action_move(STEP)
                await look.pilot.pause()
                assert harmless(look)


async def test_nasty_names_where_nothing_is_listed() -> None:
    bare = msgspec.structs.replace(nasty_snapshot(), backends=(), requests=(), logs=(), quality=())
    async with looking(ScriptedSource(bare)) as look:
        for tab in "12345":
            await look.press(tab)
            assert harmless(look)


async def test_nasty_names_in_the_palette() -> None:
    async with looking(ScriptedSource(nasty_snapshot())) as look:
        await look.press("ctrl+p")
        await look.sees("Drain x[/foo]0")
        await look.type("drain [")
        await look.sees("Drain [bold red]x[/]1")
        assert harmless(look)


async def test_nasty_names_in_questions_and_answers() -> None:
    source = NastySource(nasty_snapshot())
    async with looking(source) as look:
        for name in NASTY[::STEP]:
            source.name = name
            for key in ("x", "z", "t", "p"):
                await look.press(key)
                assert harmless(look)
                await look.press("escape")
            source.ran.clear()
            await look.press("r")
            await look.until(lambda: bool(source.ran))
            assert harmless(look)
            look.pane.table.action_move(STEP)


@pytest.mark.parametrize("name", NASTY)
def test_nasty_names_in_every_story(name: str) -> None:
    told = [
        *backend_story(backend(name, url=name, reason=name, tags=(name,)), snapshot(), Moment(NOW)),
        *request_story(nasty_request(0, name), Moment(NOW), 80),
        *quality_story(quality(name, name, reason=name), Moment(NOW)),
    ]
    for width in (1, 80):
        shown = "".join(cell.text for line in wrapped(told, width) for cell in line)
        assert not [c for c in shown if unicodedata.category(c) in FORBIDDEN]


async def test_a_storm_of_resizes() -> None:
    sizes = [(1, 1), (250, 70), (59, 16), (20, 5), (300, 10), (120, 36)]
    async with looking(ScriptedSource(nasty_snapshot())) as look:
        for tab in "13":
            await look.press(tab)
            for size in sizes:
                await look.pilot.resize_terminal(*size)
        await look.press("2", "enter")
        for size in sizes:
            await look.pilot.resize_terminal(*size)
        await look.press("escape", "question_mark")
        for size in sizes:
            await look.pilot.resize_terminal(*size)
        await look.press("escape", "q")
        for size in sizes:
            await look.pilot.resize_terminal(*size)
        await look.sees("5 requests in flight")


async def test_word_of_an_older_size_that_comes_last_changes_nothing() -> None:
    async with looking() as look:
        await look.resize(50, 10)
        await look.sees(TOO_SMALL)
        look.dashboard.post_message(Resize(Size(111, 48), Size(111, 48)))
        await look.pilot.pause()
        await look.sees(TOO_SMALL)


async def test_keys_and_changes_at_the_same_time() -> None:
    async with looking() as look:
        everything = [nasty_snapshot(), snapshot(), snapshot(backends=()), snapshot(requests=())]
        for number in range(16):
            look.source.change(everything[number % 4])
            await look.pilot.press("jkGg1234"[number % 8], "j")
        await look.change(snapshot())
        await look.press("2")
        await look.sees("vllm-b")
