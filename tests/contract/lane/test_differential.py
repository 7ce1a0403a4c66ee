"""The lane against Hypercorn: the same bytes to both must have the same outcome.

One gateway has the lane in front, the other Hypercorn alone; everything behind is the same. And
whatever the bytes, neither may show its backend a request that is not in them.

Where the two may differ, `odd_requests` steers clear of it:

- What comes after a request that closes the connection: the lane does not read it; Hypercorn
  refuses it with a 400, in place of the answer that is due if it comes before that.
- A request that Hypercorn answers before its body has come (a preflight, a health check with a
  body): whether it closes then depends on how fast the body comes, in Hypercorn by itself too.
- A head of 64 to 128 KiB: Hypercorn takes it if it comes in few enough reads.
- After 1,000 requests on a connection Hypercorn closes it; the lane does not count them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_proxy.api.paths import hot_endpoint
from tests.contract.lane import odd_requests
from tests.contract.lane.direct import HypercornAlone
from tests.contract.lane.looking import eventually, lane_connections
from tests.contract.lane.outcome import Outcome, is_subsequence, outcome_of, question
from tests.contract.lane.strict import requests_in
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

MAX_BODY_MB = 0.02
fuzzing = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass
class Both:
    """Two gateways, each with a backend of its own."""

    lane: RunningGateway
    lane_backend: ScriptedBackend
    alone: RunningGateway
    alone_backend: ScriptedBackend

    async def outcomes(self, pieces: list[bytes]) -> tuple[Outcome, Outcome]:
        """What the lane made of it, and what Hypercorn."""
        return (
            await outcome_of(pieces, self.lane, self.lane_backend),
            await outcome_of(pieces, self.alone, self.alone_backend),
        )


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    server = {"max_body_mb": MAX_BODY_MB}
    async with ScriptedBackend(name="one") as first, ScriptedBackend(name="one") as second:
        entries = [backend_entry("one", first.url)], [backend_entry("one", second.url)]
        async with (
            running_gateway(entries[0], server=server) as lane,
            running_gateway(entries[1], server=server, make=HypercornAlone) as alone,
        ):
            yield Both(lane, first, alone, second)


def questions_in(data: bytes) -> list[bytes]:
    """What the hot requests ask that stand in `data`."""
    return [
        question(read.body)
        for read in requests_in(data)
        # Hypercorn reads methods in any case; that is no matter of where a request ends.
        if read.method.upper() == b"POST" and hot_endpoint(read.target)
    ]


@given(st.data())
@settings(fuzzing, max_examples=250)
async def test_the_lane_and_hypercorn_agree(both: Both, data: st.DataObject) -> None:
    stream = data.draw(odd_requests.streams())
    lane, alone = await both.outcomes(data.draw(odd_requests.pieces(stream)))
    assert lane == alone
    assert not lane.is_cut
    assert is_subsequence(lane.asked, questions_in(stream))
    assert is_subsequence(alone.asked, questions_in(stream))


@given(st.data())
@settings(fuzzing, max_examples=150)
async def test_nothing_is_made_up_or_left_behind(both: Both, data: st.DataObject) -> None:
    """Also where it is a matter of time how much of the stream is answered."""
    stream = data.draw(odd_requests.streams(until_close=False))
    pieces = data.draw(odd_requests.pieces(stream))
    half_close = data.draw(st.booleans())
    seen = await outcome_of(pieces, both.lane, both.lane_backend, half_close=half_close)
    assert seen.closed or not half_close
    assert is_subsequence(seen.asked, questions_in(stream))
    await eventually(lambda: not lane_connections(both.lane))
    await eventually(lambda: both.lane.runtime.history.in_flight == 0)
