"""Every way in which a gateway of several processes loses one of them, or ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.contract.workers.running import chat, started, two_workers, until, worker_of
from tests.support.scripted import Answer, ScriptedBackend, faults
from tests.support.terminal import in_terminal

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def private_folders(pid: int) -> list[Path]:
    """Where the sockets are on which a worker listens to its siblings."""
    inodes = {
        target.removeprefix("socket:[").rstrip("]")
        for handle in Path(f"/proc/{pid}/fd").iterdir()
        if (target := os.readlink(handle)).startswith("socket:")
    }
    sockets = map(str.split, Path("/proc/net/unix").read_text().splitlines()[1:])
    return sorted({Path(s[7]).parent for s in sockets if len(s) > 7 and s[6] in inodes})


async def asking_on(client: httpx.AsyncClient, stop: asyncio.Event) -> list[int]:
    """Statuses of requests, one after the other, until told to stop."""
    statuses = []
    while not stop.is_set():
        statuses.append((await chat(client)).status_code)
    return statuses


@pytest.mark.parametrize("number", [0, 1])
async def test_one_that_is_killed_is_replaced_and_the_other_serves_on(
    config: str, number: int
) -> None:
    async with two_workers(config) as workers, workers.connected() as clients:
        stop = asyncio.Event()
        asking = asyncio.get_running_loop().create_task(asking_on(clients[1 - number], stop))
        before = workers.pids()
        os.kill(before[number], signal.SIGKILL)
        await workers.says(rf"worker {number} \(process {before[number]}\) was ended by SIGKILL")
        for _ in range(20):  # what waited in the queue of the dead one too is served by the other
            assert (await workers.ask()).status_code == 200
        await workers.says(f"worker {number} serves again")
        await workers.says("one is up", times=3)
        stop.set()
        statuses = await asking
        assert statuses
        assert set(statuses) == {200}
        after = workers.pids()
        assert after.keys() == {0, 1}
        assert after[1 - number] == before[1 - number]
        async with workers.connected() as fresh:
            for client in fresh.values():
                assert (await chat(client)).status_code == 200

            async def mirrors() -> bool:
                body = {"backend": "one"}
                done = await fresh[1].post("/nexus/v1/commands/backend.drain", json=body)
                return done.status_code == 200

            await until(mirrors)
            for client in fresh.values():
                assert (await chat(client)).status_code == 503


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_lets_both_finish_their_streams(
    config: str, backend: ScriptedBackend, number: signal.Signals
) -> None:
    backend.behave(Answer(hold_before=3))
    async with two_workers(config) as workers, workers.connected() as clients:
        loop = asyncio.get_running_loop()
        asking = [loop.create_task(chat(one, stream=True)) for one in clients.values()]
        await backend.until(lambda: len(backend.generations) == 2)
        workers.process.send_signal(number)
        await workers.says("draining: no new requests", times=2)
        assert (await workers.ask()).status_code == 503
        backend.release()
        for answer in await asyncio.gather(*asking):
            assert answer.text.endswith("data: [DONE]\n\n")
        assert await workers.ended() == 0


async def test_a_second_signal_does_not_wait(config: str, backend: ScriptedBackend) -> None:
    backend.behave(faults.hang)
    async with two_workers(config) as workers, workers.connected() as clients:
        loop = asyncio.get_running_loop()
        asking = [loop.create_task(chat(one)) for one in clients.values()]
        await backend.until(lambda: len(backend.generations) == 2)
        workers.process.send_signal(signal.SIGINT)
        await workers.says("draining: no new requests", times=2)
        workers.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            assert await workers.ended() == 0
        for answer in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(answer, httpx.HTTPError) or answer.is_error  # type: ignore[union-attr]


async def test_without_their_parent_they_finish_and_end(
    config: str, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before=3))
    async with two_workers(config) as workers, workers.connected() as clients:
        pids = workers.pids()
        folders = private_folders(pids[0])
        assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700]
        asking = asyncio.get_running_loop().create_task(chat(clients[0], stream=True))
        await backend.until(lambda: bool(backend.generations))
        workers.process.kill()
        await workers.says("draining: no new requests", times=2)
        assert is_alive(pids[0])
        backend.release()
        assert (await asking).text.endswith("data: [DONE]\n\n")
        await workers.ended()

        async def gone() -> bool:
            return not any(map(is_alive, pids.values()))

        await until(gone)
        assert not any(folder.exists() for folder in folders)
        with pytest.raises(httpx.ConnectError):
            await workers.ask()


async def test_one_that_is_told_to_end_finishes_and_is_replaced(
    config: str, backend: ScriptedBackend
) -> None:
    async with two_workers(config) as workers:
        before = workers.pids()
        os.kill(before[1], signal.SIGTERM)
        await workers.says("worker 1 serves again")
        async with workers.connect() as client:
            assert await worker_of(client) in (0, 1)
        assert workers.pids()[0] == before[0]


async def test_a_configuration_that_is_wrong_ends_it_before_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[server]\nprot = 1\n")
    async with started("--workers", "2", "-c", str(path)) as workers:
        assert await workers.ended() == 2
        assert workers.text.count("server.prot") == 1


async def test_a_port_in_use_is_the_same_sentence(config: str, backend: ScriptedBackend) -> None:
    port = str(backend.port)
    async with started("--workers", "2", "--port", port, "-c", config) as workers:
        assert await workers.ended() == 1
        assert f"127.0.0.1:{port} is in use by" in workers.text
        assert "nexus --port" in workers.text
        assert "Traceback" not in workers.text


async def test_with_a_screen_they_are_refused_with_what_to_do(config: str) -> None:
    arguments = ["-m", "nexus_tui.main", "--workers", "2", "-c", config]
    async with in_terminal(arguments) as terminal:
        assert await terminal.exit_code() == 2
        assert b"nexus serve --workers 2" in b" ".join(terminal.output.split())
        assert b"nexus attach" in b" ".join(terminal.output.split())
