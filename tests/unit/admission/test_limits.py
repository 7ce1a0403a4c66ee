"""Counting for keys: all or nothing, honest refusals, and nothing forgotten by a reload."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.admission.keys import Key, hash_of, new_secret
from nexus_proxy.admission.limits import Limits
from nexus_proxy.config.model import KeyConfig
from nexus_proxy.errors import RateLimitedError

DURATION = re.compile(r"(?:(\d+)m)?(?:(\d+(?:\.\d+)?)(ms|s))")


def key(name: str = "ci", **given: Any) -> Key:
    return Key(KeyConfig(name=name, hash=hash_of(new_secret()), **given))


class Clock:
    """A clock that the test moves."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def seconds(duration: str) -> float:
    """What a client reads in `x-ratelimit-reset-*`."""
    found = DURATION.fullmatch(duration)
    assert found, duration
    minutes, number, unit = found.groups()
    return int(minutes or 0) * 60 + float(number) / (1000 if unit == "ms" else 1)


def refused(limits: Limits, one: Key, tokens: int = 0) -> RateLimitedError:
    with pytest.raises(RateLimitedError) as caught:
        limits.admit(one, tokens)
    return caught.value


@given(st.integers(1, 60), st.floats(0, 59))
def test_after_retry_after_exactly_one_request_passes(rpm: int, spread: float) -> None:
    """Whole seconds can only be exact where one request takes at least one."""
    clock, one = Clock(), key(requests_per_minute=rpm)
    limits = Limits([one], clock=clock)
    for _ in range(rpm):
        limits.admit(one, 0)
        clock.now += spread / rpm**2  # all together shorter than one flows back in
    error = refused(limits, one)
    clock.now += error.retry_after
    limits.admit(one, 0)
    refused(limits, one)


@given(st.integers(1, 5_000), st.integers(1, 20_000), st.integers(0, 30_000))
def test_retry_after_is_enough_and_not_a_second_too_long(rpm: int, tpm: int, tokens: int) -> None:
    clock, one = Clock(), key(requests_per_minute=rpm, tokens_per_minute=tpm)
    limits = Limits([one], clock=clock)
    for _ in range(6_000):
        try:
            limits.admit(one, tokens)
        except RateLimitedError as caught:
            error = caught
            break
    started = clock.now
    milliseconds = int(dict(error.headers)[b"retry-after-ms"])
    assert error.retry_after == math.ceil(milliseconds / 1000)
    clock.now = started + (milliseconds - 1.01) / 1000
    if milliseconds > 1:
        refused(limits, one, tokens)
    clock.now = started + milliseconds / 1000
    limits.admit(one, tokens)


def test_a_refusal_takes_nothing() -> None:
    clock, one = Clock(), key(requests_per_minute=2, tokens_per_minute=100)
    limits = Limits([one], clock=clock)
    limits.admit(one, 100)
    assert "tokens per minute" in refused(limits, one, 50).message
    (view,) = limits.views([one])
    assert (view.requests_left, view.requests, view.refused, view.tokens) == (1, 1, 1, 100)
    limits.admit(one, 0)
    assert "2 requests per minute" in refused(limits, one).message


def test_measured_usage_corrects_the_estimate() -> None:
    clock, one = Clock(), key(tokens_per_minute=1000)
    limits = Limits([one], clock=clock)
    first = limits.admit(one, 900)
    refused(limits, one, 500)
    limits.settle(one, first, 100)
    limits.settle(one, limits.admit(one, 500), 2_000)
    assert refused(limits, one, 1).retry_after == 67  # 1100 are owed, and one is asked for
    (view,) = limits.views([one])
    assert (view.tokens, view.tokens_left) == (2_100, 0)


def test_headers_are_openais() -> None:
    clock, one = Clock(), key(requests_per_minute=60, tokens_per_minute=6_000)
    limits = Limits([one], clock=clock)
    limits.admit(one, 3_000)
    found = {name.decode(): value.decode() for name, value in limits.headers(one)}
    assert found == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "3000",
        "x-ratelimit-reset-tokens": "30s",
    }
    assert Limits([key()]).headers(key()) == []


@given(st.integers(1, 100_000), st.integers(0, 200_000))
def test_resets_can_be_read_and_are_never_too_short(tpm: int, used: int) -> None:
    one = key(tokens_per_minute=tpm)
    limits = Limits([one], clock=Clock())
    limits.settle(one, limits.admit(one, 0), used)
    told = seconds(dict(limits.headers(one))[b"x-ratelimit-reset-tokens"].decode())
    true = min(used / tpm * 60, 3600)
    assert true - 0.001 <= told <= true + 0.002


def test_a_reload_keeps_what_was_used_and_forgets_who_was_revoked() -> None:
    clock = Clock()
    one, other = key("one", requests_per_minute=2), key("other")
    limits = Limits([one, other], clock=clock)
    limits.admit(one, 5)
    limits.admit(one, 5)
    wider = key("one", requests_per_minute=4)
    limits.apply([wider])
    refused(limits, wider)
    (view,) = limits.views([wider])
    assert (view.requests, view.tokens, view.requests_left) == (2, 10, 0)
    late = limits.admit(other, 1)  # its request came before the reload
    limits.settle(other, late, 2)


def test_without_limits_nothing_is_refused_and_all_is_counted() -> None:
    one = key()
    limits = Limits([one])
    for _ in range(100):
        limits.admit(one, 7)
    (view,) = limits.views([one], {"ci": 1.5})
    assert (view.requests, view.tokens, view.spent_usd) == (100, 700, 1.5)
    assert view.requests_left is view.tokens_left is None
    assert view.last_used is not None
