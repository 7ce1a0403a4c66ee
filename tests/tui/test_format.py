from __future__ import annotations

import pytest
from rich.cells import cell_len

from nexus_proxy.state import BackendState, ModelInfo, QualityState, RequestPhase
from nexus_tui import format as fmt
from nexus_tui.themes import TONES
from nexus_tui.widgets.live_table import LiveTable
from tests.support.sample_snapshot import backend


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (-3, "0s"),
        (59.9, "59s"),
        (65, "1m 05s"),
        (7_380, "2h 03m"),
        (273_600, "3d 4h"),
    ],
)
def test_duration(seconds: float | None, shown: str) -> None:
    assert fmt.duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.42, "0.4 ms"),
        (84.6, "85 ms"),
        (1_240, "1.2 s"),
        (125_000, "2m 05s"),
    ],
)
def test_milliseconds(value: float | None, shown: str) -> None:
    assert fmt.milliseconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (512, "512"), (8192, "8k"), (1_204, "1.2k"), (200_000, "200k")],
)
def test_tokens(value: int | None, shown: str) -> None:
    assert fmt.tokens(value) == shown


def test_an_unknown_value_is_never_zero() -> None:
    assert fmt.rate(None) == fmt.count(None) == fmt.size(None) == fmt.NONE
    assert fmt.rate(0) == "0"


def test_context_tells_usable_from_trained() -> None:
    def shown(usable: int | None, trained: int | None) -> str:
        return fmt.context(ModelInfo(id="m", context_length=usable, max_context=trained))

    assert shown(8192, 40_960) == "8k of 40k"
    assert shown(131_072, 131_072) == "128k"
    assert shown(None, 40_960) == "– of 40k"
    assert shown(None, None) == "–"


def test_slots_show_only_where_known() -> None:
    assert fmt.busy(backend(in_flight=2, slots=4)) == "2/4"
    assert fmt.busy(backend(in_flight=2, slots=None)) == "2"


@pytest.mark.parametrize(
    ("marks", "states"),
    [
        (fmt.STATES, BackendState),
        (fmt.PHASES, RequestPhase),
        (fmt.QUALITY_STATES, QualityState),
    ],
)
def test_each_state_has_its_own_shape_and_word(
    marks: dict[object, fmt.Mark], states: type[BackendState | RequestPhase | QualityState]
) -> None:
    assert set(marks) == set(states)
    assert len({mark.glyph for mark in marks.values()}) == len(marks)
    assert len({mark.word for mark in marks.values()}) == len(marks)
    assert all(cell_len(mark.glyph) == 1 for mark in marks.values())


def test_each_tone_has_a_style_everywhere() -> None:
    in_tables = {name.rpartition("--")[2] for name in LiveTable.COMPONENT_CLASSES}
    assert set(TONES) - {""} <= in_tables


@pytest.mark.parametrize(
    ("values", "most", "shown"),
    [
        ((), None, ""),
        ((None, None), None, "··"),
        ((0, 0), None, "▁▁"),
        ((0, 5, 10, None), None, "▁▄▇·"),
        ((0.0, 0.5, 1.0), 1.0, "▁▄▇"),
        ((-3, 99), 1.0, "▁▇"),
    ],
)
def test_sparkline(values: tuple[float | None, ...], most: float | None, shown: str) -> None:
    assert fmt.sparkline(values, most=most) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "– too few"), (100.0, "100 good"), (80, "80 good"), (79.4, "79 fair"), (0.0, "0 poor")],
)
def test_score_is_a_number_and_a_word(value: float | None, shown: str) -> None:
    assert fmt.score(value).text == shown
