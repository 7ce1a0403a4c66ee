"""The models tab: every model on every backend, and who would serve it now."""

from __future__ import annotations

import msgspec
import pytest

from nexus_proxy.state import Preview
from nexus_tui.widgets import next_up
from tests.support.sample_snapshot import QWEN, backend, snapshot
from tests.tui.looking import Looking, looking
from tests.tui.scripted import ScriptedSource

SIZES = [(80, 24), (120, 35), (250, 70)]


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_up, "PACE", 0.02)
    monkeypatch.setattr(next_up, "_LEAST_PACE", 0.02)


def marks(look: Looking, model: str) -> dict[str, str]:
    """What stands under `Now`, by backend."""
    lines = look.text.splitlines()
    (header,) = (line for line in lines if line.startswith(" Model"))
    at, after = header.index("Now"), header.index("Context")
    found = {}
    for line in lines:
        if model in line[:at]:
            found[line[:at].split()[-1]] = line[at : after - 2].strip()
    return found


@pytest.mark.parametrize("size", SIZES)
async def test_who_would_serve_is_marked_by_shape(size: tuple[int, int]) -> None:
    async with looking(size=size) as look:
        await look.press("3")
        await look.until(lambda: marks(look, "qwen3:8b").get("ollama") == "▶ next")
        assert sorted(marks(look, "qwen3:8b").values()) == ["", "", "▶ next"]
        assert marks(look, "gpt-5-mini") == {"openai": "✕ nobody"}
        assert marks(look, "llava:13b") == {"ollama": ""}  # nothing is known of it
        assert "★ qwen3:8b" in look.text


async def test_several_may_share_the_place_and_another_model_may_take_it() -> None:
    async with looking() as look:
        sharing = Preview(first=(("ollama", "qwen3:8b"), ("lmstudio", "qwen3:8b")))
        elsewhere = Preview(first=(("ollama", "qwen3:8b"),), is_fallback=True)
        look.source.first = {"qwen3:8b": sharing, "gpt-5-mini": elsewhere}
        await look.press("3")
        await look.until(lambda: marks(look, "qwen3:8b").get("lmstudio") == "▷ 1 of 2")
        assert marks(look, "qwen3:8b")["ollama"] == "▷ 1 of 2"
        assert marks(look, "gpt-5-mini") == {"openai": "↷ other"}
        look.source.first = {"qwen3:8b": Preview(first=(("lmstudio", "qwen3:8b"),))}
        await look.until(lambda: marks(look, "qwen3:8b").get("lmstudio") == "▶ next")
        assert marks(look, "qwen3:8b")["ollama"] == ""


async def test_only_what_is_on_the_screen_is_asked_of() -> None:
    models = tuple(msgspec.structs.replace(QWEN, id=f"model-{n:03}") for n in range(200))
    many = tuple(backend(f"b{n:02}", models=models[n * 10 : n * 10 + 10]) for n in range(20))
    async with looking(ScriptedSource(snapshot(backends=many)), size=(80, 24)) as look:
        await look.pilot.pause(0.1)
        assert not look.source.previewed  # another tab is shown
        await look.press("3")
        await look.until(lambda: bool(look.source.previewed))
        asked = look.source.previewed[-1]
        assert asked[0] == "model-000"
        assert len(asked) == len(look.pane.table.in_view) < 24
        await look.press("G")
        await look.until(lambda: "model-199" in look.source.previewed[-1])
        assert "model-000" not in look.source.previewed[-1]
        await look.press("enter")  # the detail covers the table
        await look.pilot.pause(0.1)
        before = len(look.source.previewed)
        await look.pilot.pause(0.2)
        assert len(look.source.previewed) == before
