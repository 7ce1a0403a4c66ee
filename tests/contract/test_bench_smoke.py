"""The benchmark works: its mock, its load and a real Nexus, for a handful of requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.gateways import payloads, processes, report
from tests.bench.gateways.accounts import rss_bytes
from tests.bench.gateways.figures import Taken
from tests.bench.gateways.jobs import Job
from tests.bench.gateways.lineup import DIRECT, NEXUS, Kind, Missing, lineup, started
from tests.bench.gateways.processes import Load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def mock(folder: Path) -> Iterator[tuple[int, int]]:
    with processes.mock(None, folder / "mock") as mock:
        yield mock


@pytest.fixture(scope="module")
def load(folder: Path) -> Iterator[Load]:
    with processes.load(None, folder / "load") as load:
        yield load


def nexus() -> Kind:
    (kind,) = (one for one in lineup([], ui=False) if one.name == NEXUS)
    assert isinstance(kind, Kind)
    return kind


def test_requests_and_streams_go_through_nexus(
    mock: tuple[int, int], load: Load, folder: Path
) -> None:
    with started(nexus(), mock[0], None, folder / "nexus") as gateway:
        json, cpu = load.run(Job(port=gateway.port, connections=2, requests=20), gateway.pid)
        paced, _ = load.run(Job(port=gateway.port, requests=5, rate=100.0), gateway.pid)
        streams = Job(port=gateway.port, connections=3, requests=3, chunks=5, pause_ms=1)
        streamed, _ = load.run(streams, gateway.pid)
        held, memory = load.hold(
            Job(
                port=gateway.port,
                connections=2,
                requests=2,
                chunks=500,
                pause_ms=20,
                hold=True,
                warm=0,
            ),
            lambda: rss_bytes(gateway.pid),
        )
    assert (json.completed, json.errors, len(json.latencies)) == (20, {}, 20)
    assert (paced.completed, paced.errors) == (5, {})
    assert (streamed.completed, streamed.errors) == (3, {})
    assert (len(streamed.first), len(streamed.lags)) == (3, 15)
    assert len(held.first) == 2
    assert cpu > 0
    assert memory > 10_000_000


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "2 bytes where 1500 were sent"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", "closed in the answer"),
        (b"", "closed before an answer"),
    ],
)
async def test_a_wrong_answer_is_no_answer(load: Load, answer: bytes, error: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        job = Job(port=server.sockets[0].getsockname()[1], requests=3, warm=0)
        result, _ = await asyncio.to_thread(load.run, job, os.getpid())
    assert (result.completed, result.errors) == (0, {error: 3})


def test_a_stream_that_ends_early_is_no_answer(mock: tuple[int, int], load: Load) -> None:
    """The mock sends as many chunks as `max_tokens` says, which is 1 where the body is too long
    for it to look."""
    job = Job(port=mock[0], requests=1, warm=0, chunks=3, body=payloads.LARGE)
    result, _ = load.run(job, mock[1])
    assert result.completed == 0
    assert list(result.errors) == ["0 of 3 chunks"]


def test_nothing_there_is_said(load: Load) -> None:
    result, _ = load.run(Job(port=processes.free_port(), requests=2), os.getpid())
    assert list(result.errors) == ["no connection: Connection refused"]


def test_the_report_names_what_is_missing_and_what_failed() -> None:
    taken = Taken([DIRECT, NEXUS])
    for taken.round, (direct, through) in enumerate([(20.0, 100.0), (30.0, 150.0), (20.0, 110.0)]):
        taken.add(DIRECT, p50_1=direct)
        taken.add(NEXUS, p50_1=through, cpu_1=5.0)
    taken.note("nginx, 2 MB prompts: no figure")
    data = report.as_data(
        report.Machine().facts(),
        {NEXUS: "1.0"},
        [Missing("litellm", "not installed")],
        {1: 2.5},
        taken,
    )
    added = data["gateways"][NEXUS]["added_p50_1"]
    assert (added["median"], added["min"], added["max"]) == (90.0, 80.0, 120.0)
    text = report.as_text(data)
    assert "90 (80–120)" in text
    assert "missing: litellm: not installed" in text
    assert "note: nginx, 2 MB prompts: no figure" in text
