"""How near to its limit a month is, by what is spent, put aside, and usually put aside."""

from __future__ import annotations

import pytest

from nexus_proxy.accounting.budget import level_of
from nexus_proxy.accounting.entries import Sums
from nexus_proxy.config.model import BudgetAction, BudgetConfig
from nexus_proxy.store.schema import NANO

USD = NANO


@pytest.mark.parametrize(
    ("spent", "reserved", "usual", "cloud", "everything"),
    [
        (14, 0, 0, "ok", "ok"),
        (15, 0, 0, "soft", "soft"),
        (10, 5, 0, "soft", "soft"),
        (19, 1, 0, "hard", "hard"),
        (19.79, 0, 0, "soft", "soft"),
        (19.8, 0, 0, "soft", "hard"),  # 1 % is left
        (19.3, 0, 0.5, "soft", "soft"),
        (19.5, 0, 0.5, "soft", "hard"),
        (17.9, 0, 15, "soft", "soft"),
        (18, 0, 15, "soft", "hard"),  # 10 %, whatever is usual
        (18, 1.9, 0.1, "soft", "soft"),  # what is put aside may come back
    ],
)
def test_block_all_acts_when_nothing_usual_fits_into_the_rest(
    spent: float, reserved: float, usual: float, cloud: str, everything: str
) -> None:
    sums = Sums(spent=round(spent * USD), reserved=round(reserved * USD))
    for action, level in (
        (BudgetAction.BLOCK_CLOUD, cloud),
        (BudgetAction.WARN, cloud),
        (BudgetAction.BLOCK_ALL, everything),
    ):
        budget = BudgetConfig(monthly_limit_usd=20.0, hard_limit_action=action)
        assert level_of(sums, budget, usual * USD).value == level
