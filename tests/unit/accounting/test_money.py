"""Money as people read it: never zero for what is not, and unknown as such."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.accounting.money import bar, came_to, gauge, money, tabular
from nexus_proxy.state import SpendRow

ROW = SpendRow(
    label="x",
    requests=4,
    usd_measured=0.0,
    usd_estimated=0.0,
    usd_reserved=0.0,
    unknown_requests=0,
    free_requests=0,
    prompt_tokens=0,
    completion_tokens=0,
)


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (0, "$0"),
        (1234.5, "$1,234.50"),
        (0.0042, "$0.0042"),
        (0.00000131, "$0.0000013"),
        (0.00000005, "$0.000000050"),
        (0.000000001, "$0.000000001"),
        (0.0000000004, "<$0.000000001"),
    ],
)
def test_money(usd: float, shown: str) -> None:
    assert money(usd) == shown


@given(st.integers(min_value=1, max_value=10**15))
def test_no_nano_dollar_looks_like_nothing(nanousd: int) -> None:
    assert set(money(nanousd / 1e9)) & set("123456789")


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1))
def test_in_a_column_the_points_stand_below_each_other(sums: list[float]) -> None:
    shown = [tabular(usd).rjust(16) for usd in sums]
    assert {one.index(".") for one in shown} == {11}
    for usd, one in zip(sums, shown, strict=True):
        assert bool(set(one) & set("123456789")) == (usd > 0)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"requests": 0}, "–"),
        ({"free_requests": 4}, "local"),
        ({"free_requests": 3, "usd_measured": 1.2}, "$1.20"),
        ({"usd_measured": 1.0, "usd_estimated": 0.2}, "~$1.20"),
        ({"usd_measured": 3.0, "unknown_requests": 2}, "$3.00 + 2?"),
        ({"unknown_requests": 4}, "4?"),
        ({"unknown_requests": 1, "free_requests": 3}, "1?"),
        ({"usd_reserved": 0.2}, "running"),
    ],
)
def test_what_requests_came_to(changes: dict[str, float], shown: str) -> None:
    assert came_to(msgspec.structs.replace(ROW, **changes)) == shown


money_of = st.floats(min_value=0, max_value=1e6)


@given(used=money_of, limit=money_of, soft=st.floats(min_value=0, max_value=100))
def test_a_gauge_is_full_only_at_the_limit(used: float, limit: float, soft: float) -> None:
    drawn = gauge(used, limit, soft, 24)
    assert len(drawn) == 24
    assert (set(drawn) <= set("█┃")) == (used >= limit)
    assert used == 0 or drawn[0] in "█┃┊"


def test_the_soft_limit_is_marked_and_looks_different_once_passed() -> None:
    assert gauge(5, 10, 80, 10) == "█████░░░┊░"
    assert gauge(9, 10, 80, 10) == "████████┃░"


def test_where_the_month_is_heading_is_marked_as_long_as_that_is_on_the_bar() -> None:
    assert gauge(2, 10, 80, 10, 5.5) == "██░░░◇░░┊░"
    assert gauge(2, 10, 80, 10, 9.9) == "██░░░░░░┊◇"
    assert gauge(2, 10, 80, 10, 12) == gauge(2, 10, 80, 10, 2) == gauge(2, 10, 80, 10)


@given(value=money_of, most=money_of)
def test_a_bar_never_hides_what_is_there_and_never_overflows(value: float, most: float) -> None:
    drawn = bar(value, most, 12)
    assert bool(drawn) == (value > 0 and most > 0)
    assert len(drawn) <= 12


def test_a_bar_is_as_long_as_its_share() -> None:
    assert bar(1, 2, 4) == "██"
    assert bar(2, 2, 4) == "████"
    assert bar(1, 1e9, 4) == "▏"
