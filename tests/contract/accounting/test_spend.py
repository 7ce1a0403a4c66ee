"""Money over HTTP: put aside, booked, limited, reported. `gpt-4o` costs $2.50 and $10 a million."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from nexus_proxy.admission.keys import hash_of
from nexus_proxy.state import SpendReport
from nexus_proxy.tasks import spawn
from tests.contract.hot.asking import CHAT, HELLO, error_of, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, Cut, ScriptedBackend, faults
from tests.support.scripted.wire import Exchange

MODEL = "gpt-4o"
SECRET = "nxs-" + "s" * 43
KEY = {"OPENAI_API_KEY": "sk-test-0123456789"}
READ, MADE = 7, 4
"""Tokens of the scripted backend's usual answer."""
COST = (READ * 2.5 + MADE * 10) / 1e6


@pytest.fixture
async def cloud() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend([MODEL], name="cloud") as one:
        yield one


@pytest.fixture
async def local() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend([MODEL], name="local") as one:
        yield one


def paid(url: str, **more: Any) -> dict[str, Any]:
    return backend_entry(
        "cloud", url, **{"type": "openai", "api_key_env": "OPENAI_API_KEY", **more}
    )


def asked(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": HELLO, "max_tokens": 100, **more}


async def report(gateway: RunningGateway, by: str = "backend") -> SpendReport:
    return await gateway.runtime.ledger.report(None, by)


async def test_a_priced_request_is_put_aside_booked_and_told(cloud: ScriptedBackend) -> None:
    async with running_gateway([paid(cloud.url)], environ=KEY) as gateway:
        answer = await post(gateway, asked())
        assert answer.status_code == 200
        estimated = float(answer.headers["x-nexus-cost-estimated"])
        assert 100 * 10 / 1e6 < estimated < 0.002
        spent = await report(gateway)
        (row,) = spent.rows
        assert (row.label, row.requests, row.prompt_tokens) == ("cloud", 1, READ)
        assert row.usd_measured == pytest.approx(COST)
        assert spent.spent_usd == pytest.approx(COST)
        assert spent.reserved_usd == 0
        view = gateway.runtime.history.newest(1)[0]
        assert view.cost_usd == pytest.approx(COST)
        assert view.cost_source == "measured"


async def test_what_is_local_is_free_and_counted(local: ScriptedBackend) -> None:
    async with running_gateway([backend_entry("local", local.url)]) as gateway:
        for _ in range(3):
            answer = await post(gateway, asked())
            assert "x-nexus-cost-estimated" not in answer.headers
        gateway.runtime.history.settle()
        spent = await report(gateway, "model")
        (row,) = spent.rows
        assert (row.label, row.requests, row.free_requests) == (MODEL, 3, 3)
        assert (row.prompt_tokens, row.completion_tokens) == (3 * READ, 3 * MADE)
        assert spent.spent_usd == 0


async def test_a_failed_attempt_costs_nothing_and_a_cut_one_what_was_relayed(
    cloud: ScriptedBackend,
) -> None:
    async with running_gateway(
        [paid(cloud.url)], environ=KEY, routing={"max_retries": 0}
    ) as gateway:
        cloud.behave(faults.status(500, "boom"), times=1)
        assert (await post(gateway, asked())).status_code == 500
        spent = await report(gateway)
        assert (spent.rows, spent.spent_usd, spent.reserved_usd) == ((), 0.0, 0.0)
        cloud.behave(Answer(cut=Cut.CLOSE, after=2))
        await post(gateway, asked(stream=True))
        spent = await report(gateway)
        (row,) = spent.rows
        assert row.usd_measured == 0
        assert 0 < row.usd_estimated < COST * 3
        assert spent.reserved_usd == 0
    with closing(sqlite3.connect(gateway.runtime.store.path)) as connection:
        assert connection.execute("SELECT state, provenance FROM entries").fetchall() == [
            ("interrupted", "estimated")
        ]


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_is_billed_for_the_prompt_and_what_was_relayed(
    cloud: ScriptedBackend, stream: bool
) -> None:
    cloud.behave(Answer(hold_before=3 if stream else "headers"), times=1)
    async with running_gateway([paid(cloud.url)], environ=KEY) as gateway:
        if stream:
            async with gateway.client.stream("POST", CHAT, json=asked(stream=True)) as answer:
                await anext(answer.aiter_bytes())
        else:
            asking = spawn(post(gateway, asked()), name="client")
            await cloud.until(lambda: cloud.in_flight == 1)
            asking.cancel()
        await gateway.until(lambda: gateway.runtime.history.in_flight == 0)
        gateway.runtime.history.settle()
        view = gateway.runtime.history.newest(1)[0]
        spent = await report(gateway)
        (row,) = spent.rows
    assert (view.phase.value, view.cost_source) == ("cancelled", "estimated")
    assert view.cost_usd == pytest.approx(row.usd_estimated)
    assert (row.usd_measured, row.usd_reserved) == (0.0, 0.0)
    assert 0 < row.usd_estimated < COST * 2
    assert (row.completion_tokens > 0) is stream
    with closing(sqlite3.connect(gateway.runtime.store.path)) as connection:
        assert connection.execute("SELECT state FROM entries").fetchall() == [("interrupted",)]


async def test_the_money_is_in_the_file_before_the_backend_hears_of_the_request(
    cloud: ScriptedBackend, tmp_path: Path
) -> None:
    """As another process sees it, which would be all that is left if this one were killed now."""
    path, seen = tmp_path / "kept.db", []

    async def look(exchange: Exchange) -> None:
        with closing(sqlite3.connect(path)) as file:
            seen.append(file.execute("SELECT state, provenance, nanousd FROM entries").fetchall())
        await Answer()(exchange)

    cloud.behave(look, times=1)
    async with running_gateway(
        [paid(cloud.url)], environ=KEY, state={"path": str(path)}
    ) as gateway:
        answer = await post(gateway, asked())
    estimated = float(answer.headers["x-nexus-cost-estimated"])
    (((state, provenance, nanousd),),) = seen
    assert (state, provenance) == ("reserved", "estimated")
    assert nanousd / 1e9 == pytest.approx(estimated, abs=1e-6)


async def test_nobody_is_told_of_a_spent_budget_while_there_is_enough(
    cloud: ScriptedBackend,
) -> None:
    """Each request comes as soon as the one before has its answer, whose money was put aside."""
    budget = {"monthly_limit_usd": 0.0025}  # two reservations do not go into it
    async with running_gateway(
        [paid(cloud.url)], environ=KEY, routing={"budget": budget}
    ) as gateway:
        statuses = [(await post(gateway, asked())).status_code for _ in range(30)]
    served = statuses.index(402)
    assert served == int((0.0025 - 0.00103) / COST) + 1
    assert statuses == [200] * served + [402] * (30 - served)


@pytest.mark.parametrize(("action", "at_home"), [("block_cloud", 200), ("block_all", 402)])
async def test_at_the_limit_what_costs_is_refused_and_the_action_says_what_of_local(
    cloud: ScriptedBackend, local: ScriptedBackend, action: str, at_home: int
) -> None:
    budget = {"monthly_limit_usd": 0.02, "hard_limit_action": action}
    entries = [paid(cloud.url, priority=1), backend_entry("local", local.url, priority=90)]
    async with running_gateway(
        entries, environ=KEY, routing={"budget": budget, "strategy": "priority_only"}
    ) as gateway:
        forced = asked(model=f"cloud/{MODEL}", max_tokens=100)
        for _ in range(int(0.015 / COST)):
            assert (await post(gateway, forced)).status_code == 200
        assert (await post(gateway, asked(model=f"local/{MODEL}"))).status_code == 200
        while (refused := await post(gateway, forced)).status_code == 200:
            pass
        assert "budget of $0.02" in error_of(refused, 402, "budget_exceeded")["message"]
        assert 0.018 <= (await report(gateway)).spent_usd <= 0.02
        served = await post(gateway, asked(model=f"local/{MODEL}"))
        assert served.status_code == at_home
        if at_home == 402:
            error_of(served, 402, "budget_exceeded")


async def test_near_the_limit_local_is_preferred(
    cloud: ScriptedBackend, local: ScriptedBackend
) -> None:
    budget = {"monthly_limit_usd": 1.0, "soft_limit_percent": 0}
    entries = [paid(cloud.url, priority=1), backend_entry("local", local.url, priority=90)]
    async with running_gateway(entries, environ=KEY, routing={"budget": budget}) as gateway:
        assert (await post(gateway, asked())).headers["x-nexus-backend"] == "local"
        assert gateway.runtime.ledger.standing.level.value == "soft"


async def test_no_request_may_cost_more_than_it_is_allowed(cloud: ScriptedBackend) -> None:
    policies = [{"model_pattern": "gpt-4o", "max_cost_per_request": 0.01}]
    async with running_gateway(
        [paid(cloud.url)], environ=KEY, routing={"policies": policies}
    ) as gateway:
        assert (await post(gateway, asked(max_tokens=500))).status_code == 200
        refused = await post(gateway, asked(max_tokens=5000))
        error = error_of(refused, 503, "no_available_backend")
        assert "$0.0100 is the most" in error["message"]
        own = {"x-nexus-max-cost": "0.000001"}
        refused = await post(gateway, asked(), headers=own)
        assert "budget" in refused.headers["x-nexus-rejection-details"]
        assert refused.headers["x-should-retry"] == "false"


async def test_an_unknown_price_is_never_zero(cloud: ScriptedBackend) -> None:
    entries = [paid(cloud.url, models=["*"])]
    cloud.models = ["somebody/else"]
    async with running_gateway(entries, environ=KEY) as gateway:
        answer = await post(gateway, {**asked(), "model": "somebody/else"})
        assert answer.status_code == 200
        assert answer.headers["x-nexus-cost-estimated"] == "unknown"
        spent = await report(gateway)
        assert (spent.unknown_requests, spent.spent_usd) == (1, 0.0)
        refused = await post(
            gateway, {**asked(), "model": "somebody/else"}, headers={"x-nexus-max-cost": "5"}
        )
        assert "price is not known" in error_of(refused, 503, "no_available_backend")["message"]


async def test_the_report_over_http_and_what_it_cannot_be_asked(cloud: ScriptedBackend) -> None:
    async with running_gateway([paid(cloud.url)], environ=KEY) as gateway:
        await post(gateway, asked())
        answer = await gateway.client.get("/nexus/v1/spend?by=model")
        assert answer.json()["rows"][0]["label"] == MODEL
        for query in ("?month=2026-13", "?month=now", "?by=colour"):
            refused: httpx.Response = await gateway.client.get(f"/nexus/v1/spend{query}")
            error_of(refused, 400, "invalid_request")


async def test_spend_survives_the_gateway(cloud: ScriptedBackend, tmp_path: Path) -> None:
    state = {"path": str(tmp_path / "kept.db")}
    for expected in (COST, 2 * COST):
        async with running_gateway([paid(cloud.url)], environ=KEY, state=state) as gateway:
            assert (await post(gateway, asked())).status_code == 200
            assert (await report(gateway)).spent_usd == pytest.approx(expected)


async def test_what_a_key_has_spent_survives_too(cloud: ScriptedBackend, tmp_path: Path) -> None:
    keys = [{"name": "ci", "hash": hash_of(SECRET), "monthly_limit_usd": 0.00105}]
    state, headers = {"path": str(tmp_path / "kept.db")}, {"authorization": f"Bearer {SECRET}"}
    for status in (200, 402):
        async with running_gateway(
            [paid(cloud.url)], environ=KEY, state=state, keys=keys
        ) as gateway:
            assert (await post(gateway, asked(), headers=headers)).status_code == status
            (view,) = gateway.runtime.snapshot().keys
            assert view.spent_usd == pytest.approx(COST)
            assert view.requests == 1, "its use is counted anew"


async def test_who_cannot_be_paid_is_passed_over(
    cloud: ScriptedBackend, local: ScriptedBackend
) -> None:
    """The key's own limit is known to the ledger only, and what is local costs none of it."""
    entries = [paid(cloud.url, priority=1), backend_entry("local", local.url, priority=90)]
    keys = [{"name": "poor", "hash": hash_of(SECRET), "monthly_limit_usd": 0.0001}]
    headers = {"authorization": f"Bearer {SECRET}"}
    async with running_gateway(
        entries, environ=KEY, routing={"strategy": "priority_only"}, keys=keys
    ) as gateway:
        answer = await post(gateway, asked(), headers=headers)
        assert answer.headers["x-nexus-backend"] == "local"
        refused = await post(gateway, asked(model=f"cloud/{MODEL}"), headers=headers)
        said = error_of(refused, 402, "budget_exceeded")["message"]
        assert said.startswith("this may cost $0.00")
        assert "the API key 'poor' has $0.0001 left of $0.0001" in said
        assert not cloud.generations
