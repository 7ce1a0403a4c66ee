"""Several gateways that share budgets, limits, drains and pins through one real Valkey server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from nexus_proxy.admission.keys import hash_of
from nexus_proxy.tasks import spawn
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend
from tests.support.valkey import Valkey

MODEL = "gpt-4o"
KEY = {"OPENAI_API_KEY": "sk-test-0123456789"}
SECRET = "nxs-" + "s" * 43
CALLER = {"authorization": f"Bearer {SECRET}"}
COST = (7 * 2.5 + 4 * 10) / 1e6
"""USD of the scripted backend's usual answer."""
PATIENCE = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    one = Valkey()
    yield one
    one.stop()


@pytest.fixture
def valkey(server: Valkey) -> Valkey:
    server.ask("FLUSHALL")
    return server


@pytest.fixture
async def cloud() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend([MODEL, "m"], name="cloud") as one:
        yield one


@asynccontextmanager
async def replica(
    valkey: Valkey, backend: ScriptedBackend, path: Path, **tables: Any
) -> AsyncIterator[RunningGateway]:
    """A gateway with a state file of its own."""
    paid = backend_entry("cloud", backend.url, type="openai", api_key_env="OPENAI_API_KEY")
    state = {"url": valkey.url, "path": str(path), **tables.pop("state", {})}
    async with running_gateway([paid], environ=KEY, state=state, **tables) as gateway:
        yield gateway


@asynccontextmanager
async def pair(
    valkey: Valkey, backend: ScriptedBackend, folder: Path, **tables: Any
) -> AsyncIterator[tuple[RunningGateway, RunningGateway]]:
    async with (
        replica(valkey, backend, folder / "a.db", **tables) as one,
        replica(valkey, backend, folder / "b.db", **tables) as other,
    ):
        yield one, other


async def until(condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
    """Look again and again: what another process did is seen a second later."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 it happens in a server
            await asyncio.sleep(0.02)


async def ask(gateway: RunningGateway, **more: Any) -> httpx.Response:
    return await gateway.chat(MODEL, headers=CALLER, **{"max_tokens": 100, **more})


def tokens_to_refill(valkey: Valkey) -> float:
    """How many of its 1000 tokens a minute the key has used, for all replicas."""
    seconds, micros = map(int, valkey.ask("TIME"))
    full_at = valkey.ask("GET", "nexus:{limits}:ci:tokens")
    return 0.0 if full_at is None else (float(full_at) - seconds - micros / 1e6) * 1000 / 60


def budget(usd: float) -> dict[str, Any]:
    return {"budget": {"monthly_limit_usd": usd, "hard_limit_action": "block_cloud"}}


async def test_a_budget_is_one_for_all_replicas_under_load(
    valkey: Valkey, cloud: ScriptedBackend, tmp_path: Path
) -> None:
    limit = 30 * COST
    async with pair(valkey, cloud, tmp_path, routing=budget(limit)) as gateways:
        answers: list[httpx.Response] = []
        for _ in range(8):
            answers += await asyncio.gather(
                *(ask(gateway, max_tokens=4) for gateway in gateways for _ in range(5))
            )
        served = sum(answer.status_code == 200 for answer in answers)
        assert {answer.status_code for answer in answers} == {200, 402}
        assert 0 < served * COST <= limit
        assert served >= 15, "the budget was not used for what fits into it"
        one, other = gateways
        await until(lambda: round(one.runtime.ledger.standing.spent_usd / COST) == served)
        await until(lambda: round(other.runtime.ledger.standing.spent_usd / COST) == served)
        rows = await other.runtime.ledger.report(None, "backend")
        assert 0 < rows.elsewhere_usd < served * COST
        assert rows.spent_usd + rows.elsewhere_usd == pytest.approx(served * COST)


async def test_the_budget_of_a_key_is_one_for_all_replicas(
    valkey: Valkey, cloud: ScriptedBackend, tmp_path: Path
) -> None:
    keys = [{"name": "ci", "hash": hash_of(SECRET), "monthly_limit_usd": 3 * COST}]
    async with pair(valkey, cloud, tmp_path, keys=keys) as gateways:
        statuses = []
        for _ in range(4):
            for gateway in gateways:
                answer = await ask(gateway, max_tokens=4)
                statuses.append(answer.status_code)
                gateway.runtime.history.settle()
        assert 1 <= statuses.count(200) <= 3
        assert statuses[-1] == 402
        assert "'ci'" in answer.json()["error"]["message"]


async def test_who_starts_later_knows_what_is_spent_drained_and_pinned(
    valkey: Valkey, cloud: ScriptedBackend, tmp_path: Path
) -> None:
    async with replica(valkey, cloud, tmp_path / "a.db", routing=budget(1.0)) as one:
        assert (await ask(one)).status_code == 200
        await one.runtime.run_command("backend.pin", {"model": "m", "backend": "cloud"})
        await one.runtime.run_command("backend.drain", {"backend": "cloud"})
    async with replica(valkey, cloud, tmp_path / "b.db", routing=budget(1.0)) as other:
        runtime = other.runtime
        assert runtime.ledger.standing.spent_usd == pytest.approx(COST)
        assert runtime.registry.get("cloud").drained
        assert runtime.registry.pins == {"m": "cloud"}


async def test_a_drain_and_a_pin_hold_everywhere_until_they_are_undone(
    valkey: Valkey, cloud: ScriptedBackend, tmp_path: Path
) -> None:
    async with pair(valkey, cloud, tmp_path) as (one, other):
        there = other.runtime.registry
        await one.runtime.run_command("backend.drain", {"backend": "cloud"})
        await one.runtime.run_command("backend.pin", {"model": "m", "backend": "cloud"})
        await until(lambda: there.get("cloud").drained and there.pins == {"m": "cloud"})
        await other.runtime.run_command("backend.resume", {"backend": "cloud"})
        await other.runtime.run_command("backend.unpin", {"model": "m"})
        here = one.runtime.registry
        await until(lambda: not here.get("cloud").drained and here.pins == {})
        assert not there.get("cloud").drained


async def test_what_the_store_lost_is_told_again(
    valkey: Valkey, cloud: ScriptedBackend, tmp_path: Path
) -> None:
    async with replica(valkey, cloud, tmp_path / "a.db", routing=budget(1.0)) as one:
        assert (await ask(one)).status_code == 200
        await one.runtime.run_command("backend.drain", {"backend": "cloud"})
        await until(lambda: "yes" in valkey.ask("HVALS", "nexus:{acts}"))
        valkey.ask("FLUSHALL")
        await until(lambda: "yes" in valkey.ask("HVALS", "nexus:{acts}"))
        async with replica(valkey, cloud, tmp_path / "b.db", routing=budget(1.0)) as other:
            assert other.runtime.registry.get("cloud").drained
            await until(lambda: other.runtime.ledger.standing.spent_usd == pytest.approx(COST))


async def test_limits_of_a_key_are_one_for_all_replicas_and_so_is_its_usage(
    valkey: Valkey, cloud: ScriptedBackend, tmp_path: Path
) -> None:
    keys = [{"name": "ci", "hash": hash_of(SECRET), "requests_per_minute": 6}]
    async with pair(valkey, cloud, tmp_path, keys=keys) as (one, other):
        for gateway in (one, other, one, other, one):
            assert (await ask(gateway)).status_code == 200
        last = await ask(other)
        assert (last.status_code, last.headers["x-ratelimit-remaining-requests"]) == (200, "0")
        for gateway in (one, other):
            refused = await ask(gateway)
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 10
        for gateway in (one, other):
            await until(
                lambda gateway=gateway: (
                    [  # type: ignore[misc]
                        (key.requests, key.refused) for key in gateway.runtime.snapshot().keys
                    ]
                    == [(6, 2)]
                )
            )
        assert one.runtime.snapshot().replicas == 2


async def test_what_an_answer_did_not_need_may_be_used_at_another_replica(
    valkey: Valkey, cloud: ScriptedBackend, tmp_path: Path
) -> None:
    keys = [{"name": "ci", "hash": hash_of(SECRET), "tokens_per_minute": 1000}]
    async with pair(valkey, cloud, tmp_path, keys=keys) as (one, other):
        assert (await ask(one, max_tokens=900)).status_code == 200
        await until(lambda: tokens_to_refill(valkey) < 100)
        assert (await ask(other, max_tokens=900)).status_code == 200


async def test_what_cannot_be_given_back_just_now_is_given_back_later(
    cloud: ScriptedBackend, tmp_path: Path
) -> None:
    keys = [{"name": "ci", "hash": hash_of(SECRET), "tokens_per_minute": 1000}]
    cloud.behave(Answer(hold_before="headers"), times=1)
    valkey = Valkey()
    try:
        async with replica(valkey, cloud, tmp_path / "a.db", keys=keys) as one:
            asking = spawn(ask(one, max_tokens=900), name="client")
            await cloud.until(lambda: cloud.in_flight == 1)
            assert tokens_to_refill(valkey) > 800
            valkey.freeze()
            cloud.release()
            assert (await asking).status_code == 200
            await until(lambda: one.runtime.replicas.problem is not None)
            valkey.thaw()
            await until(lambda: tokens_to_refill(valkey) < 100, seconds=5)
    finally:
        valkey.stop()


async def test_while_the_store_is_away_each_goes_on_alone_and_says_so(
    cloud: ScriptedBackend, tmp_path: Path
) -> None:
    valkey = Valkey()
    keys = [{"name": "ci", "hash": hash_of(SECRET), "requests_per_minute": 3}]
    tables: dict[str, Any] = {"routing": budget(1.0), "keys": keys}
    try:
        async with pair(valkey, cloud, tmp_path, **tables) as (one, other):
            assert (await ask(one)).status_code == 200
            valkey.stop()
            assert (await ask(one)).status_code == 200
            await until(lambda: any("is away" in p for p in one.runtime.snapshot().problems))
            health = (await one.client.get("/health", headers=CALLER)).json()
            assert health["status"] == "degraded"
            assert (await ask(one)).status_code == 200
            assert (await ask(one)).status_code == 429
            await one.runtime.run_command("backend.drain", {"backend": "cloud"})
            valkey.start()
            await until(lambda: other.runtime.registry.get("cloud").drained)
            await until(lambda: other.runtime.ledger.standing.spent_usd == pytest.approx(3 * COST))
            assert not any("is away" in p for p in one.runtime.snapshot().problems)
            assert (await one.client.get("/health", headers=CALLER)).json()["status"] == "healthy"
    finally:
        valkey.stop()


async def test_a_store_that_freezes_holds_up_nobody_for_long(
    cloud: ScriptedBackend, tmp_path: Path
) -> None:
    valkey = Valkey()
    try:
        async with replica(valkey, cloud, tmp_path / "a.db", routing=budget(1.0)) as one:
            valkey.freeze()
            answers = await asyncio.gather(*(ask(one) for _ in range(20)))
            assert [answer.status_code for answer in answers] == [200] * 20
            assert any("no answer within" in p for p in one.runtime.snapshot().problems)
            valkey.thaw()
            await until(lambda: one.runtime.replicas.problem is None)
    finally:
        valkey.stop()


async def test_a_wrong_password_is_told_and_never_shown(
    cloud: ScriptedBackend, tmp_path: Path
) -> None:
    valkey = Valkey()
    valkey.ask("CONFIG", "SET", "requirepass", "correct-horse")
    try:
        paid = backend_entry("cloud", cloud.url)
        for password, is_let_in in (("correct-horse", True), ("battery-staple", False)):
            state = {"url": valkey.url, "path": str(tmp_path / "a.db"), "password_env": "SECRET"}
            environ = {"SECRET": password}
            async with running_gateway([paid], environ=environ, state=state) as one:
                await until(lambda one=one: one.runtime.replicas.synced)  # type: ignore[misc]
                told = repr(one.runtime.snapshot())
                assert ("is away" not in told) is is_let_in
                assert password not in told
    finally:
        valkey.stop()


async def test_who_cannot_reach_the_store_at_the_start_serves_all_the_same(
    cloud: ScriptedBackend, tmp_path: Path
) -> None:
    state = {"url": "redis://127.0.0.1:1/0", "path": str(tmp_path / "a.db")}
    async with running_gateway([backend_entry("cloud", cloud.url)], state=state) as one:
        assert (await ask(one)).status_code == 200
        assert any("127.0.0.1:1 is away" in p for p in one.runtime.snapshot().problems)
