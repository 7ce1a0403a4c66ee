"""Who may be asked, and who first, by what the month and the request may still cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.config.model import PolicyConfig, RoutingConfig, Zone
from nexus_proxy.errors import BudgetExceededError
from nexus_proxy.events import Bus
from nexus_proxy.registry import Registry
from nexus_proxy.routing.pipeline import Decision
from nexus_proxy.routing.refusal import refuse
from nexus_proxy.routing.types import Candidate, Purse
from nexus_proxy.state import BudgetLevel, BudgetStanding, ModelInfo
from tests.unit.test_routing import add, decide, order

PRICES: dict[str, float | None] = {"local": 0.0, "cheap": 0.01, "dear": 0.5, "unpriced": None}


def fleet() -> Registry:
    """One that costs nothing and is in every other way the worst; three that cost."""
    registry = Registry(Bus())
    local = add(registry, "local", ModelInfo(id="a", loaded=False), priority=100)
    local.in_flight, local.first_token_ms["a"] = 3, 60_000.0
    for name in ("cheap", "dear", "unpriced"):
        add(registry, name, "a", priority=0, is_cloud=True, zone=Zone.OPEN)
    return registry


def standing(
    level: BudgetLevel, action: str = "block_cloud", *, used: float = 0.0, reserved: float = 0.0
) -> BudgetStanding:
    return BudgetStanding(
        month="2026-11",
        spent_usd=used,
        reserved_usd=reserved,
        unknown_requests=0,
        limit_usd=10.0,
        soft_percent=75.0,
        action=action,
        level=level,
    )


def purse(now: BudgetStanding, most: float | None = None) -> Purse:
    def estimate(candidate: Candidate) -> float | None:
        return PRICES[candidate.backend.name]

    return Purse(now, most, estimate)


def route(wallet: Purse | None, routing: RoutingConfig | None = None) -> list[Decision]:
    return decide(fleet(), "a", routing, purse=wallet)


def test_without_a_purse_nobody_asks_for_prices() -> None:
    assert set(order(route(None))) == set(PRICES)


@pytest.mark.parametrize(
    ("action", "left"),
    [("warn", set(PRICES)), ("block_cloud", {"local"}), ("block_all", set())],
)
def test_a_spent_budget_leaves(action: str, left: set[str]) -> None:
    decisions = route(purse(standing(BudgetLevel.HARD, action, used=10.0)))
    assert set(order(decisions)) == left
    for rejection in decisions[0].rejections:
        assert rejection.stage == "budget"
        assert "$10 for 2026-11 is spent" in rejection.reason
        assert "monthly_limit_usd" in str(rejection.fix)


def test_near_the_limit_what_is_local_comes_first_however_slow_it_is() -> None:
    assert order(route(purse(standing(BudgetLevel.OK))))[0] != "local"
    assert order(route(purse(standing(BudgetLevel.SOFT, used=8.0))))[0] == "local"


def test_what_the_rest_of_the_budget_does_not_do_for_is_left_out() -> None:
    """The ledger would refuse it, and end a request that others can serve."""
    decisions = route(purse(standing(BudgetLevel.SOFT, used=9.0, reserved=0.9)))
    assert set(order(decisions)) == {"local", "cheap", "unpriced"}
    (rejection,) = decisions[0].rejections
    assert rejection.backend == "dear"
    assert "is spent but for $0.1, and it may cost $0.5" in rejection.reason


def test_when_only_the_last_dollar_is_in_the_way_the_answer_is_402() -> None:
    registry = Registry(Bus())
    add(registry, "dear", "a", is_cloud=True)
    near = purse(standing(BudgetLevel.SOFT, used=9.9))
    error = refuse(decide(registry, "a", purse=near))
    assert isinstance(error, BudgetExceededError)
    assert error.status == 402
    assert "lower max_tokens" in error.message


@pytest.mark.parametrize("by_policy", [True, False])
def test_a_request_that_may_cost_little_goes_to_nobody_dearer_or_unknown(by_policy: bool) -> None:
    policy = PolicyConfig(model_pattern="a", max_cost_per_request=0.05)
    routing = RoutingConfig(policies=[policy] if by_policy else [])
    decisions = route(purse(standing(BudgetLevel.OK), None if by_policy else 0.05), routing)
    assert set(order(decisions)) == {"local", "cheap"}
    reasons = {r.backend: r.reason for r in decisions[0].rejections}
    assert "$0.0500 is the most" in reasons["dear"]
    assert "not known" in reasons["unpriced"]


@given(
    st.sampled_from(BudgetLevel),
    st.sampled_from(["warn", "block_cloud", "block_all"]),
    st.floats(0, 12),
    st.none() | st.floats(0, 1),
)
def test_who_is_left_may_be_paid(
    level: BudgetLevel, action: str, used: float, most: float | None
) -> None:
    now = standing(level, action, used=used)
    for name in order(route(purse(now, most))):
        price = PRICES[name]
        if most is not None:
            assert price is not None
            assert price <= most
        if action != "warn":
            assert price is None or price == 0.0 or price <= 10.0 - used
        if level is BudgetLevel.HARD:
            assert action == "warn" or (action == "block_cloud" and name == "local")
