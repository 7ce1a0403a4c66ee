"""What each tab shows, and how it is narrowed down."""

from __future__ import annotations

import pytest

from nexus_proxy.state import BackendState, RequestPhase
from nexus_tui.format import PHASES, STATES
from nexus_tui.screens.dashboard import PANES
from nexus_tui.widgets.header_strip import header_lines
from tests.support.sample_policies import NOW, quality
from tests.support.sample_snapshot import (
    backend,
    backends,
    empty_snapshot,
    request,
    requests,
    snapshot,
)
from tests.tui.looking import looking
from tests.tui.scripted import ScriptedSource

NAMES = ("vllm-b", "ollama", "lmstudio", "llamacpp-attic")


async def test_the_first_screen_answers_the_five_questions() -> None:
    async with looking(size=(80, 24)) as look:
        for answer in (
            "http://127.0.0.1:8000",
            "2/7 up",
            "3 in flight",
            "▲ $15.51 + 2? of $20.00",
            "up 1h 13m",
            "1 problem",
            "llamacpp-attic is down: connection refused",
        ):
            assert answer in look.text


async def test_every_state_is_a_glyph_and_a_word() -> None:
    async with looking() as look:
        for state in BackendState:
            assert f"{STATES[state].glyph} {STATES[state].word}" in look.text
        await look.press("4")
        for phase in RequestPhase:
            assert f"{PHASES[phase].glyph} {PHASES[phase].word}" in look.text


async def test_tabs_by_digit_by_tab_key_and_by_mouse() -> None:
    async with looking() as look:
        await look.press("4")
        assert look.pane.id == "requests-pane"
        await look.press(*["tab"] * len(PANES))
        assert look.pane.id == "requests-pane"
        await look.press("shift+tab")
        assert look.dashboard.pane.id == "models-pane"
        await look.pilot.click("#--content-tab-models")
        await look.until(lambda: look.pane.id == "models-pane")
        assert look.app.focused is look.pane.table


async def test_only_the_visible_tab_is_drawn() -> None:
    async with looking() as look:
        await look.press("4", "2")
        before = look.dashboard.panes["requests"].snapshot
        await look.change(snapshot(requests=()))
        assert look.dashboard.panes["requests"].snapshot is before
        await look.press("4")
        await look.sees("No requests yet.")


async def test_models_side_by_side_with_the_pin_where_it_is() -> None:
    async with looking(size=(120, 36)) as look:
        await look.press("3")
        lines = [line for line in look.text.splitlines() if "qwen3:8b" in line]
        assert len(lines) == 3
        assert [line for line in lines if "★" in line] == [
            line for line in lines if "ollama" in line
        ]
        assert all("8k of 40k" in line and "chat tools" in line for line in lines)


async def test_selection_stays_on_the_same_backend_when_rows_move() -> None:
    async with looking() as look:
        await look.press("j")
        assert look.selected == "vllm-b"
        await look.change(snapshot(backends=tuple(reversed(backends()))))
        assert look.selected == "vllm-b"
        await look.press("d")
        await look.told("ran backend.drain")
        assert look.source.ran == [("backend.drain", {"backend": "vllm-b"})]


async def test_the_detail_beside_the_table_follows_the_cursor() -> None:
    async with looking(size=(130, 36)) as look:
        await look.sees("http://127.0.0.1:11434")
        await look.press("j")
        await look.sees("http://192.168.1.20:8000/v1", "nexus.toml:14")


async def test_a_running_request_goes_on_and_stays_selected() -> None:
    async with looking() as look:
        await look.press("4", "j", "j")
        assert look.selected == "req_04"
        newer = request("req_07", phase=RequestPhase.ROUTING, backend=None)
        await look.change(snapshot(requests=(newer, *requests())))
        assert look.selected == "req_04"
        await look.press("g")
        await look.change(snapshot(requests=(request("req_08"), newer, *requests())))
        assert look.selected == "req_08"


@pytest.mark.parametrize(
    ("tab", "words", "rows"),
    [
        ("2", "vllm", ["vllm-b"]),
        ("2", "state:down", ["llamacpp-attic"]),
        ("2", "zone:restricted !state:up", ["llamacpp-attic", "lmstudio", "exo"]),
        ("2", "tag:gpu", ["vllm-b"]),
        ("2", "LLAVA", ["ollama"]),
        ("3", "can:embeddings", ["ollama\0nomic-embed-text"]),
        ("4", "phase:failed", ["req_02"]),
        ("4", "status:499", ["req_01"]),
        ("8", "level:error", None),
        ("5", "priority:high", ["req_00"]),
        ("5", "swap:", ["req_99"]),
        ("7", "state:left", ["llamacpp-attic\0qwen3:8b"]),
        ("7", "vllm", ["vllm-b\0meta-llama/Llama-3.3-70B-Instruct"]),
    ],
)
async def test_filter(tab: str, words: str, rows: list[str] | None) -> None:
    async with looking() as look:
        await look.press(tab, "slash")
        await look.type(words)
        shown = [look.pane.key(item) for item in look.pane.table.items]
        assert len(shown) == 1 if rows is None else shown == rows
        assert f"{len(shown)} of " in look.text


async def test_a_filter_stays_after_enter_and_goes_with_escape() -> None:
    async with looking() as look:
        await look.press("slash")
        await look.type("vllm")
        await look.press("enter")
        assert look.app.focused is look.pane.table
        assert look.selected == "vllm-b"
        await look.change(snapshot(backends=backends()[:2]))
        assert "1 of 2" in look.text
        await look.press("escape")
        assert len(look.pane.table.items) == 2
        assert "1 of 2" not in look.text


async def test_a_filter_without_a_match_says_so() -> None:
    async with looking() as look:
        await look.press("slash")
        await look.type("nowhere")
        await look.sees("None of 7 rows has 'nowhere'. Esc shows all.")
        await look.press("escape")
        await look.sees("vllm-b")


async def test_empty_tabs_say_what_to_do_next() -> None:
    async with looking(ScriptedSource(empty_snapshot())) as look:
        await look.sees(
            "No backends yet.",
            "this machine     11434 (Ollama), 1234 (LM Studio)",
            "nexus backends add",
        )
        await look.press("3")
        await look.sees("No models, since there are no backends yet.")
        await look.press("4")
        await look.sees("No requests yet.", "curl http://127.0.0.1:8000/v1/chat/completions")
        await look.press("8")
        await look.sees("Nothing has been logged yet.")
        await look.press("5")
        await look.sees("Nobody waits.", "nexus config show")
        await look.press("7")
        await look.sees("No request has reached a backend yet.")
        await look.press("0")
        await look.sees("nexus keys create")


async def test_the_queue_says_who_waits_for_what_and_for_how_long() -> None:
    async with looking(size=(200, 36)) as look:
        await look.sees("≡ 2 queued")
        await look.press("5")
        rows = look.text.splitlines()
        first = next(row for row in rows if "▲ high" in row)
        for words in ("4s", "qwen3:8b", "▲ high", "~12s", "ollama: all 4 slots taken"):
            assert words in first
        second = next(row for row in rows if "llava:13b" in row)
        for words in ("9s", "llava:13b", "normal", "–", "ollama: swap: qwen3:8b runs 1 request"):
            assert words in second
        await look.change(snapshot(queue=()))
        await look.sees("Nobody waits.")
        assert "queued" not in look.text


async def test_enter_in_the_queue_tells_the_story_of_the_request() -> None:
    async with looking() as look:
        await look.press("5", "enter")
        await look.sees("≡ queued", "claude-3-5-haiku-20241022")


async def test_backends_without_models_say_how_to_load_one() -> None:
    async with looking(ScriptedSource(snapshot(backends=(backend(models=()),)))) as look:
        await look.press("3")
        await look.sees("ollama pull")


async def test_the_example_request_names_a_model_that_can_chat() -> None:
    async with looking(ScriptedSource(snapshot(requests=()))) as look:
        await look.press("4")
        await look.sees('"model": "qwen3:8b"')


async def test_quality_is_a_score_a_word_and_who_is_left_out() -> None:
    async with looking(size=(120, 36)) as look:
        await look.press("7")
        rows = [row for row in look.text.splitlines() if "▲" not in row]
        lines = {name: next(row for row in rows if name in row) for name in NAMES}
        assert "– too few" in lines["vllm-b"]
        assert "96 good" in lines["ollama"]
        assert "● in use" in lines["ollama"]
        assert "98%" in lines["ollama"]
        assert "184 ms" in lines["ollama"]
        assert "61 fair" in lines["lmstudio"]
        assert "◐ on trial" in lines["lmstudio"]
        assert "12 poor" in lines["llamacpp-attic"]
        assert "⊘ left out" in lines["llamacpp-attic"]
        assert "··········▃▁" in lines["llamacpp-attic"]


async def test_the_story_of_quality_says_why_and_until_when_and_goes_on() -> None:
    async with looking(size=(100, 44)) as look:
        await look.press("7", "G", "enter")
        await look.sees(
            "qwen3:8b on llamacpp-attic",
            "8 of its last 10 requests failed",
            "15:06:58, in 18s: then one request at a time tries it",
            "it serves only what nobody else can serve",
            "8 faults, 4 streams cut",
        )
        back = quality(backend="llamacpp-attic", state_since=NOW)
        look.source.change(snapshot(quality=(back,)))
        await look.sees("● in use", "half below 184 ms, 95% below 902 ms")
        assert "nobody else" not in look.text


async def test_verbs_act_on_the_backend_and_model_of_a_quality_row() -> None:
    async with looking() as look:
        await look.press("7", "j", "p")
        await look.until(lambda: bool(look.source.ran))
        assert look.source.ran[0][1] == {"model": "qwen3:8b"}


async def test_log_levels_and_following() -> None:
    async with looking() as look:
        await look.press("8")
        assert "asking 127.0.0.1:11434" in look.text
        await look.press("v")
        assert "asking 127.0.0.1:11434" not in look.text
        await look.press("v", "v")
        assert len(look.pane.table.items) == 1
        await look.press("v")
        assert len(look.pane.table.items) == 6
        assert look.pane.table.following
        await look.press("k")
        assert not look.pane.table.following
        await look.press("f")
        assert look.pane.table.following


async def test_a_problem_is_told_while_it_lasts() -> None:
    async with looking() as look:
        await look.change(snapshot(problems=("the disk is full", "vllm-b is down")))
        await look.sees("the disk is full", "(and 1 more)", "2 problems")
        await look.change(snapshot(problems=()))
        await look.sees("no problems")
        await look.until(lambda: "the disk is full" not in look.text)


async def test_e_copies_the_address() -> None:
    async with looking() as look:
        await look.press("e")
        await look.told("Copied http://127.0.0.1:8000")
        assert look.app.clipboard == "http://127.0.0.1:8000"
        look.app.copy_to_clipboard("")
        await look.pilot.click("HeaderStrip", offset=(20, 0))
        assert look.app.clipboard == "http://127.0.0.1:8000"


@pytest.mark.parametrize("width", range(20, 200, 7))
def test_the_header_fills_any_width_and_never_overflows(width: int) -> None:
    for line in header_lines(snapshot(), "in process", width):
        used = sum(len(cell.text) for cell in line)
        assert used == width or width < 40


async def test_keys_show_what_is_left_and_say_how_to_make_one() -> None:
    async with looking(size=(120, 36)) as look:
        await look.press("0")
        (line,) = [line for line in look.text.splitlines() if " of 100,000" in line]
        assert "✕ 0 of 60" in line
        assert "$4.21 of $20.00" in line
        await look.press("enter")
        await look.sees("nexus keys revoke ci")
        look.source.change(snapshot(keys=()))
        await look.sees("Revoked.")
        await look.press("escape")
        await look.sees("nexus keys create laptop")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("2", ("found by", "local port")),
        ("3 G", ("pinned to", "★ ollama", "Served by")),
        ("4 j j j j", ("Request req_02", "Candidates, best first")),
        ("5", ("all 4 slots taken", "Place 1 in the queue")),
        ("7 G", ("8 of its last 10 requests failed", "Last 24 hours")),
        ("8", ("component    relay",)),
        ("9", ("Loopback by default", "enter  changes it")),
        ("0", ("Left of its limits", "nexus keys revoke ci")),
    ],
)
async def test_a_wide_screen_tells_of_the_selected_row_beside_every_table(
    keys: str, words: tuple[str, ...]
) -> None:
    async with looking(size=(200, 50)) as look:
        await look.press(*keys.split())
        await look.sees(*words)
        await look.resize(100, 50)
        await look.until(lambda: words[-1] not in look.text)


async def test_the_decision_of_an_older_request_is_asked_for_beside_the_table() -> None:
    source = ScriptedSource(snapshot(requests=(request("req_1", decision=None),)))
    async with looking(source, size=(160, 50), tab="requests") as look:
        await look.sees("Request req_1", "Candidates, best first")
        assert source.told == ["req_1"]


@pytest.mark.parametrize(
    ("tab", "copied"),
    [
        ("2", "http://127.0.0.1:11434"),
        ("3", "gpt-5-mini"),
        ("4", "req_06"),
        ("8", "req_04: ollama, qwen3:8b"),
        ("0", "ci"),
    ],
)
async def test_what_the_row_is_called_is_copied(tab: str, copied: str) -> None:
    async with looking() as look:
        await look.press(tab, "Y")
        await look.told(f"Copied {copied}")
        assert look.app.clipboard == copied


@pytest.mark.parametrize(("key", "said"), [("5", "Nobody waits."), ("0", "No API keys: every")])
async def test_an_empty_tab_says_so_in_whole_lines_before_another_moment_comes(
    key: str, said: str
) -> None:
    source = ScriptedSource(snapshot(queue=(), keys=()))
    async with looking(source, size=(150, 42)) as look:
        await look.press(key)
        await look.pilot.pause()
        assert said in look.text
