from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexus_tui.widgets.columns import GAP, Column, fit_columns

columns = st.lists(
    st.builds(
        lambda width, priority, grow: Column[str](
            title="c", width=width, priority=priority, grow=grow
        ),
        st.integers(1, 30),
        st.integers(0, 5),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@given(columns, st.integers(0, 250))
def test_the_columns_shown_always_fit(given_columns: list[Column[str]], width: int) -> None:
    fitted = fit_columns(given_columns, width)
    used = sum(cells for _, cells in fitted) + GAP * (len(fitted) - 1)
    assert used <= width or not fitted
    assert [index for index, _ in fitted] == sorted(index for index, _ in fitted)


@given(columns, st.integers(0, 250))
def test_nothing_is_dropped_before_what_matters_less(
    given_columns: list[Column[str]], width: int
) -> None:
    shown = {index for index, _ in fit_columns(given_columns, width)}
    kept = [given_columns[index].priority for index in shown]
    dropped = [c.priority for i, c in enumerate(given_columns) if i not in shown and c.priority]
    assert not kept or not dropped or max(kept) <= max(dropped)


def test_columns_drop_from_the_right_and_growing_ones_take_the_rest() -> None:
    three = [
        Column[str](title="a", width=10, grow=True),
        Column[str](title="b", width=10, priority=1),
        Column[str](title="c", width=10, priority=1),
    ]
    assert fit_columns(three, 40) == ((0, 16), (1, 10), (2, 10))
    assert fit_columns(three, 30) == ((0, 18), (1, 10))
    assert fit_columns(three, 12) == ((0, 12),)
    assert fit_columns(three, 6) == ((0, 6),)


def test_what_grows_does_not_leave_a_gap_that_is_hard_to_read_across() -> None:
    three = [
        Column[str](title="a", width=10, grow=True),
        Column[str](title="b", width=10, grow=True, most=12),
        Column[str](title="c", width=10),
    ]
    assert fit_columns(three, 250) == ((0, 40), (1, 12), (2, 10))
    last = [*three, Column[str](title="d", width=10, grow=True)]
    assert fit_columns(last, 250) == ((0, 40), (1, 12), (2, 10), (3, 250 - 62 - 3 * GAP))
