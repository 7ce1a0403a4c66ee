"""A backend that counts tokens in nonsense: the answer is passed on, and no figure breaks."""

from __future__ import annotations

import json
import math

import pytest

from nexus_proxy.state import Snapshot
from tests.contract.accounting.test_spend import KEY, MODEL, asked, cloud, local, paid, report
from tests.contract.hot.asking import post
from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend
from tests.support.scripted.wire import Behaviour, Exchange

__all__ = ["cloud", "local"]

NONSENSE = ["1" + "0" * 400, str(10**30), str(2**63), "-5", "1e300", "true", '"many"', "[]"]


def counting(text: str) -> Behaviour:
    """Answers with `text` for each count of its usage."""
    answer = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hello."}}],
        "usage": {"prompt_tokens": "?", "completion_tokens": "?", "total_tokens": "?"},
    }
    body = json.dumps(answer).replace('"?"', text).encode()

    async def behave(exchange: Exchange) -> None:
        await exchange.respond(200, body, "application/json")

    return behave


@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: text[:12])
async def test_nonsense_for_usage_is_as_good_as_none(
    cloud: ScriptedBackend, local: ScriptedBackend, text: str
) -> None:
    entries = [paid(cloud.url), backend_entry("local", local.url)]
    async with running_gateway(entries, environ=KEY) as gateway:
        for backend in (cloud, local):
            backend.behave(counting(text), times=1)
            answer = await post(gateway, asked(model=f"{backend.name}/{MODEL}"))
            assert answer.status_code == 200
            assert b"Hello." in answer.content
        gateway.runtime.history.settle()
        spent = await report(gateway)
        assert spent.reserved_usd == 0
        assert 0 < spent.spent_usd < 0.001
        (row,) = [row for row in spent.rows if row.label == "cloud"]
        assert row.usd_estimated == pytest.approx(spent.spent_usd)
        assert all(0 <= row.prompt_tokens < 1000 for row in spent.rows)
        state = (await gateway.client.get("/nexus/v1/state")).json()
        assert math.isfinite(state["totals"]["tokens_per_second"])
        assert isinstance(gateway.runtime.snapshot(), Snapshot)
