"""`nexus requests --follow`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.contract.cli.terminal import finished, scene


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode()


async def test_requests_are_shown_as_they_end_after_those_before(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        await here.gateway.chat("m", {"x-request-id": "before"})
        process = await here.shell.start("requests", "--follow")
        assert (await line(process)).split()[:2] == ["TIME", "ID"]
        assert "before" in await line(process)
        await here.gateway.chat("m", {"x-request-id": "after"})
        assert "after" in await line(process)
        process.kill()
        await finished(process)


async def test_as_json_it_is_an_object_a_line_and_ends_with_the_gateway(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        for name in ("old", "last"):
            await here.gateway.chat("m", {"x-request-id": name})
        process = await here.shell.start("requests", "-f", "--json", "-n", "1")
        assert json.loads(await line(process))["id"] == "last"
        for _ in range(2):
            await here.gateway.chat("m", {"x-request-id": "used-twice"})
            assert json.loads(await line(process))["id"] == "used-twice"
        await here.gateway.runtime.drain(1)
        done = await finished(process)
    assert done.code == 3
    assert "stopped" in done.err
