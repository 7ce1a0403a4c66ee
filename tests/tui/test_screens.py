"""Everything that opens over the tables, and how the app is left."""

from __future__ import annotations

import pytest
from textual.command import CommandPalette

from nexus_proxy.commands import COMMANDS
from nexus_proxy.state import RequestPhase, Snapshot
from nexus_tui.app import NexusApp
from nexus_tui.palette import offers
from nexus_tui.screens.backend_detail import BackendDetailScreen
from nexus_tui.screens.quit import QuitQuestion
from nexus_tui.themes import THEMES
from tests.support.sample_policies import NOW
from tests.support.sample_snapshot import (
    DECISION,
    backend,
    backends,
    empty_snapshot,
    request,
    requests,
    snapshot,
)
from tests.tui.looking import Looking, looking
from tests.tui.scripted import ScriptedSource

IDLE = empty_snapshot()


async def test_a_request_tells_its_whole_story() -> None:
    async with looking(size=(120, 60)) as look:
        await look.press("4", "j", "j", "j", "j", "enter")
        failed = requests()[4]
        words = [failed.error or "", "first token", "1,204 in", "claude-3-5-haiku-20241022 →"]
        words += [sentence for _, sentence in DECISION.stages]
        words += [f"score {one.score:.2f}" for one in DECISION.candidates]
        words += [one.reason for one in DECISION.rejections]
        words += [one.fix for one in DECISION.rejections if one.fix]
        await look.sees(*words)


async def test_a_story_goes_on_while_it_is_read() -> None:
    async with looking() as look:
        await look.press("4", "j", "j", "enter")
        await look.sees("streaming", "6s so far")
        over = request("req_04", completion_tokens=999, phase=RequestPhase.DONE)
        look.source.change(snapshot(requests=(over,), taken_at=NOW + 1))
        await look.sees("999 out", "done")
        look.source.change(snapshot(requests=()))
        await look.press("j")
        await look.sees("999 out")
        await look.press("escape")
        await look.sees("No requests yet.")


async def test_a_backend_tells_its_whole_story_and_when_it_goes() -> None:
    async with looking(size=(80, 50)) as look:
        await look.press("j", "j", "enter")
        assert [type(screen) for screen in look.app.screen_stack][1:] == [BackendDetailScreen]
        await look.sees("connection refused", "nexus.toml:20", "15:01:22 connection refused")
        look.source.change(snapshot(backends=backends()[:2]))
        await look.sees("No longer listed")
        await look.press("escape")
        assert look.app.screen is look.dashboard


async def test_a_backend_tells_how_fast_and_how_well_it_served_lately() -> None:
    async with looking(size=(120, 60)) as look:
        await look.press("2")
        facts = (
            "Last 10 minutes, 40 s a bar",
            "first token  ▂▂▃···▇▃▂▂▂▂▂▂▂ max 900 ms",
            "tokens/s     ▃▄▄▁▁▁▂▅▇▇▅▄▅▃▂ max 41",
            "96 good  ● in use",
            "first token 100% · rate 85%",
        )
        await look.sees(*facts)
        await look.press("enter")
        await look.sees(*facts)
        await look.press("escape", "j")  # one that did not serve lately
        await look.until(lambda: "Last 10 minutes" not in look.text)


async def test_a_log_line_is_shown_in_full() -> None:
    async with looking(size=(60, 20)) as look:
        await look.press("8", "k", "enter")
        await look.sees("closed the connection before the\n", "answer was whole", "component")


async def test_help_lists_every_key_and_verb_and_mark() -> None:
    async with looking(size=(160, 95)) as look:
        await look.press("question_mark")
        await look.sees(*(command.help for command in COMMANDS))
        await look.sees("Show only rows with words", "● up", "★ pinned", "⊘ cancelled")
        await look.press("question_mark", "escape")
        assert look.app.screen is look.dashboard


def test_the_palette_offers_what_makes_sense_now() -> None:
    texts = {offer.text: offer for offer in offers(snapshot())}
    assert texts["Drain vllm-b"].verb == "backend.drain"
    assert "Resume vllm-b" not in texts
    assert "Resume lmstudio" in texts
    assert "Drain lmstudio" not in texts
    assert [text for text in texts if text.startswith("Accept")] == ["Accept openai"]
    assert texts["Unpin qwen3:8b"].selection.model == "qwen3:8b"
    assert "Pin a model to exo" not in texts
    assert {offer.verb for offer in texts.values()} == {command.name for command in COMMANDS}


async def test_the_palette_runs_a_verb() -> None:
    async with looking() as look:
        await look.press("ctrl+p")
        await look.until(lambda: isinstance(look.app.screen, CommandPalette))
        await look.type("drain vllm")
        await look.sees("Drain vllm-b")
        await look.press("enter")
        await look.told("ran backend.drain")
        assert look.source.ran == [("backend.drain", {"backend": "vllm-b"})]


async def test_the_palette_goes_to_a_tab() -> None:
    async with looking() as look:
        await look.press("ctrl+p")
        await look.type("go to logs")
        await look.sees("Go to Logs")
        await look.press("enter")
        await look.until(lambda: look.pane.id == "logs-pane")


async def test_a_read_only_palette_offers_no_verbs() -> None:
    source = ScriptedSource(attached=True)
    source.read_only = True
    async with looking(source) as look:
        await look.press("ctrl+p")
        await look.type("drain")
        await look.sees("No matches found")


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
async def test_themes_change_at_once(theme: str) -> None:
    async with looking() as look:
        look.app.theme = theme
        await look.press("j")
        await look.sees("vllm-b", "● up")


async def test_only_themes_that_know_all_tones_are_offered() -> None:
    async with looking() as look:
        assert set(look.app.available_themes) == {theme.name for theme in THEMES}


class SecretiveSource(ScriptedSource):
    """Whose bug happens while a secret is in a local variable."""

    def snapshot(self) -> Snapshot:
        secret = "key-" + "in-a-local"
        if self.snapshots:
            raise RuntimeError(f"a bug of {len(secret)} letters")
        return super().snapshot()


async def test_a_crash_is_logged_and_shows_no_locals(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    source = SecretiveSource()
    app = NexusApp(source)

    async def use() -> None:
        async with app.run_test() as pilot:
            for _ in range(200):
                source.change(source.shown)
                await pilot.pause(0.02)

    with pytest.raises(RuntimeError, match="a bug of"):
        await use()
    assert app.return_code == 1
    shown = capsys.readouterr().err
    assert "a bug of" in shown
    assert "key-in-a-local" not in shown
    assert "the terminal UI crashed" in caplog.text


async def test_q_leaves_at_once_while_nothing_runs() -> None:
    async with looking(ScriptedSource(IDLE)) as look:
        await look.press("q")
        assert look.app.return_value == "quit"


async def test_q_leaves_an_attached_gateway_alone() -> None:
    async with looking(ScriptedSource(attached=True)) as look:
        await look.press("q")
        assert look.app.return_value == "quit"


@pytest.mark.parametrize(
    ("keys", "outcome"),
    [("d", "quit"), ("n", "quit-now"), ("right enter", "quit"), ("right right enter", "quit-now")],
)
async def test_q_asks_while_requests_run(keys: str, outcome: str) -> None:
    async with looking() as look:
        await look.press("q")
        await look.sees("5 requests in flight")
        await look.press(*keys.split())
        assert look.app.return_value == outcome


@pytest.mark.parametrize("key", ["escape", "s", "enter"])
async def test_q_and_stay(key: str) -> None:
    async with looking() as look:
        await look.press("ctrl+q")
        await look.until(lambda: isinstance(look.app.screen, QuitQuestion))
        await look.press(key)
        assert look.app.screen is look.dashboard
        assert look.app.return_value is None


async def test_the_tables_go_on_under_a_question() -> None:
    async with looking() as look:
        await look.press("q")
        await look.change(snapshot(backends=(backend("somebody-new"),)))
        assert [view.name for view in look.pane.table.items] == ["somebody-new"]


async def check_at(look: Looking, width: int, height: int) -> None:
    await look.pilot.resize_terminal(width, height)
    await look.pilot.pause()
    too_small = width < 60 or height < 16
    await look.until(lambda: ("Terminal too small" in look.text) == too_small)


async def test_below_60_by_16_one_line_says_so() -> None:
    async with looking() as look:
        await check_at(look, 59, 24)
        assert look.text.split() == ["Terminal", "too", "small:", "60×16", "needed"]
        await check_at(look, 80, 15)
        await check_at(look, 60, 16)
        await look.sees("ollama", "up")


async def test_a_story_that_the_snapshot_leaves_out_is_fetched() -> None:
    brief = snapshot(requests=(request("req_01", decision=None),))
    source = ScriptedSource(brief)
    async with looking(source, size=(100, 44)) as look:
        await look.press("4", "enter")
        await look.sees("chosen for", "Candidates, best first")
        await look.change(brief)
        await look.sees("chosen for")
    assert source.told == ["req_01"]
