"""Times are told as how long ago, and by the clock on demand: everywhere, by one key."""

from __future__ import annotations

import pytest

from nexus_tui.format import Moment
from tests.tui.looking import looking

MIDDAY = 1_750_000_000.0
DAY = 86_400


def test_a_time_of_another_day_has_its_date() -> None:
    moment = Moment(MIDDAY, absolute=True)
    assert moment.ago(MIDDAY - 60).count(":") == 2
    assert moment.ago(MIDDAY - 3 * DAY).count("-") == 1
    assert moment.ago(None) == "never"


@pytest.mark.parametrize(
    ("keys", "relative", "absolute"),
    [
        ("1", "21s ago", "15:06:18"),
        ("2", "for 1h 06m", "since 14:00:00"),
        ("2 enter", "3s ago", "15:06:37"),
        ("4", "30s", "15:06:10"),
        ("5", "Waiting", "Since"),
        ("7 G enter", "left out for 12s", "left out since 15:06:28"),
        ("8", "50s", "15:05:50"),
        ("8 enter", "15:06:34, 6s ago", "15:06:34"),
        ("0", "12s ago", "15:06:28"),
        ("0 enter", "1s ago", "15:06:39"),
    ],
)
async def test_one_key_turns_all_times_round(keys: str, relative: str, absolute: str) -> None:
    async with looking(size=(250, 40), tab="overview") as look:
        await look.press(*keys.split())
        await look.sees(relative)
        await look.press("T")
        await look.sees(absolute)
        await look.until(lambda: relative not in look.text)
        await look.press("T")
        await look.sees(relative)
