"""`nexus --demo` in a terminal: the tour plays, the chat answers, and no size harms the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.terminal import in_terminal

pytestmark = pytest.mark.real

SIZES = [(40 + 11 * n, 10 + 3 * (n * 7 % 21)) for n in range(20)]
"""Between 40×10 and 249×70, too small ones among them."""


async def test_the_tour_plays_and_the_chat_answers_by_keys_alone(tmp_path: Path) -> None:
    arguments = ["-m", "nexus_tui.main", "--demo", "--no-discovery", "--port", "0"]
    environ = {
        "TMPDIR": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "NO_COLOR": "1",
    }
    async with in_terminal(arguments, columns=120, rows=35, environ=environ) as terminal:
        await terminal.until(lambda: "1/1 up" in terminal.text, seconds=60)
        terminal.type("8")
        await terminal.until(lambda: "the tour is over" in terminal.text, seconds=100)
        for number, sight in enumerate(["streamed", "tool", "embedding", "four", "exist"], start=1):
            assert f"tour, {number} of 5" in terminal.text
            assert sight in terminal.text
        terminal.type("4")
        await terminal.until(lambda: terminal.text.count("✓ done") == 7)
        assert terminal.text.count("✕ failed") == 1
        terminal.type("3")
        await terminal.shows("Quant")
        terminal.type("c")
        await terminal.shows("model demo/smollm2")
        terminal.type("Say hello.\r")
        await terminal.until(lambda: "✓ done · demo" in terminal.text, seconds=60)
        for columns, rows in SIZES:
            terminal.resize(columns, rows)
        terminal.resize(80, 24)
        await terminal.until(lambda: "cChat" in terminal.text and "‹ demo" in terminal.text)
        terminal.type("\x1b")
        terminal.type("\x11")
        assert await terminal.exit_code() == 0
        assert terminal.restored
