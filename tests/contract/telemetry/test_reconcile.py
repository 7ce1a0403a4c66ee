"""`/metrics`, `/v1/stats` and `/v1/history` say the same, to the last request."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.telemetry.mixed import Mixed, mixed

Series = dict[str, list[tuple[dict[str, str], float]]]


async def scraped(load: Mixed) -> Series:
    answer = await load.gateway.client.get("/metrics")
    assert answer.status_code == 200
    series: Series = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            series.setdefault(sample.name, []).append((sample.labels, sample.value))
    return series


def summed(series: Series, name: str, **labels: str) -> float:
    found = series.get(name, [])
    return sum(value for has, value in found if labels.items() <= has.items())


def by(views: list[dict[str, Any]], name: str) -> Counter[str]:
    return Counter(view[name] for view in views if view[name])


def meant(view: dict[str, Any]) -> str:
    """The model that it was, or would have been, served by."""
    return str(view["model"] or (view["decision"] or {}).get("model", "unknown"))


async def told(load: Mixed, path: str, **filters: str) -> dict[str, Any]:
    answer = await load.gateway.client.get(path, params=filters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_all_three_agree_after_a_mixed_load() -> None:
    async with mixed() as load:
        await load.load()
        # In this order, without a pause: the last request must be in all of them.
        series = await scraped(load)
        stats = await told(load, "/v1/stats")
        history = await told(load, "/v1/history", limit="1000")
        spent = load.gateway.runtime.ledger.standing.spent_usd
        report = await told(load, "/nexus/v1/spend", by="model")
    assert history["since"] == stats["since"] > 0
    views, total = history["requests"], stats["total"]
    assert (total["requests"], total["done"], total["failed"], total["cancelled"]) == (13, 8, 3, 2)
    assert len(views) == summed(series, "nexus_requests_total") == 13
    for outcome, count in by(views, "phase").items():
        assert total[outcome] == summed(series, "nexus_requests_total", outcome=outcome) == count
    for label in ("backend", "endpoint", "key"):
        for name, count in by(views, label).items():
            told_count = stats[f"by_{label}"][name]["requests"]
            assert told_count == summed(series, "nexus_requests_total", **{label: name}) == count
    for name, count in Counter(map(meant, views)).items():
        assert stats["by_model"][name]["requests"] == count
        assert summed(series, "nexus_requests_total", model=name) == count
    failed = Counter(v["code"] for v in views if v["phase"] == "failed")
    assert failed == {"model_not_found": 1, "upstream_error": 1, "upstream_cut": 1}
    assert total["errors"] == failed
    assert all(summed(series, "nexus_errors_total", kind=k) == n for k, n in failed.items())
    for name in ("prompt_tokens", "completion_tokens"):
        count = sum(view[name] or 0 for view in views)
        assert total[name] == summed(series, f"nexus_{name}_total") == count > 0
        booked = sum(row[name] for row in report["rows"])
        assert booked == total[name], "also of those who left, and of what was cut"
    costs = sum(view["cost_usd"] or 0.0 for view in views)
    assert summed(series, "nexus_cost_usd_total") == pytest.approx(costs)
    assert total["cost_measured_usd"] + total["cost_estimated_usd"] == pytest.approx(costs)
    assert summed(series, "nexus_budget_spent_usd") == pytest.approx(spent)
    assert spent == pytest.approx(costs)
    assert (total["retries"], total["failovers"]) == (1, 1)
    assert summed(series, "nexus_retries_total", backend="cloud") == 1
    assert summed(series, "nexus_failovers_total", backend="two") == 1
    tries = sum(len(view["attempts"]) for view in views)
    assert summed(series, "nexus_attempts_total") == tries
    assert summed(series, "nexus_attempts_total", backend="one", outcome="upstream_error") == 1
    waited = sum(view["queued_ms"] is not None for view in views)
    assert summed(series, "nexus_queue_wait_seconds_count") == waited == 2
    seconds = sum(view["total_ms"] for view in views) / 1000.0
    assert summed(series, "nexus_request_duration_seconds_sum") == pytest.approx(seconds)
    assert summed(series, "nexus_request_duration_seconds_count") == 13
    streams = [v for v in views if v["stream"] and v["first_token_ms"] is not None]
    assert summed(series, "nexus_first_token_seconds_count") == len(streams) > 0
    assert stats["in_flight"] == summed(series, "nexus_in_flight") == 0
    assert summed(series, "nexus_exclusions_total", stage="lifecycle", backend="two") > 0


async def test_filters_choose_the_same_requests() -> None:
    async with mixed() as load:
        await load.load()
        for filters in (
            {"model": "m"},
            {"backend": "cloud"},
            {"key": "ci"},
            {"status": "failed"},
            {"model": "gpt-4o", "status": "done"},
            {"key": "nobody"},
        ):
            stats = await told(load, "/v1/stats", **filters)
            history = await told(load, "/v1/history", limit="3", **filters)
            assert stats["total"]["requests"] == history["matching"], filters
            assert len(history["requests"]) == min(3, history["matching"])
        assert (await told(load, "/v1/history", status="400"))["matching"] == 1
        newest = (await told(load, "/v1/history", limit="1"))["requests"][0]
        since = await told(load, "/v1/history", since=repr(newest["started"]))
        assert since["requests"] == [newest]
        assert (await told(load, "/v1/history", since="2999-01-01T00:00:00Z"))["matching"] == 0


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/stats?modell=m", "it takes model, backend, key, status"),
        ("/v1/stats?since=0", "has no filter 'since'"),
        ("/v1/history?since=yesterday", "since must be"),
        ("/v1/history?limit=-1", "limit must be"),
        ("/v1/history?status=fine", "status must be one of running, routing"),
    ],
)
async def test_what_cannot_be_filtered_by_is_refused(path: str, says: str) -> None:
    async with mixed() as load:
        answer = await load.gateway.client.get(path)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
