"""`nexus logs`: the log of a running gateway."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from nexus_proxy.state.snapshot import SHOWN_LINES
from tests.contract.cli.terminal import finished, scene
from tests.contract.cli.test_follow import line


async def test_lines_are_chosen_by_level_part_and_number(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        await here.gateway.chat("m", {"x-request-id": "fine"})
        await here.gateway.chat("nobody", {"x-request-id": "bad"})
        plain = await here.nexus("logs", "--component", "request")
        loud = await here.nexus("logs", "--level", "warning", "--json")
        last = await here.nexus("logs", "-n", "1")
        none = await here.nexus("logs", "--component", "nothing")
    fine, bad = plain.out.splitlines()
    assert " info    request    fine chat 'm', on one" in fine
    assert " warning request    bad chat 'nobody'" in bad
    assert [one["level"] for one in loud.json()] == ["warning"]
    assert last.out.splitlines() == [bad]
    assert (none.out, none.err) == ("", "No such lines are kept.\n")


async def test_lines_are_followed_each_once(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        for name in ("old", "last"):
            await here.gateway.chat("m", {"x-request-id": name})
        process = await here.shell.start("logs", "-f", "--json", "-n", "1")
        assert "last chat" in json.loads(await line(process))["message"]
        for name in ("next", "next", "after"):
            await here.gateway.chat("m", {"x-request-id": name})
            assert f"{name} chat" in json.loads(await line(process))["message"]
        process.kill()
        await finished(process)


async def test_lines_that_came_faster_than_they_are_kept_are_missed_out_loud(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, ["m"]) as here:
        log = logging.getLogger("nexus_proxy.crowd")
        log.info("before")
        process = await here.shell.start("logs", "-f", "--component", "crowd")
        assert "before" in await line(process)
        for number in range(SHOWN_LINES + 5):
            log.info("line %d", number)
        assert "line 5" in await line(process)
        process.kill()
        assert "Some lines are missing here" in (await finished(process)).err


async def test_what_cannot_be_asked_for_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        for query, says in (
            ("level=loud", "level must be one of debug, info, warning, error, not 'loud'"),
            ("since=yesterday", "since must be"),
            ("limit=-1", "limit must be"),
        ):
            answer = await here.gateway.client.get(f"/nexus/v1/logs?{query}")
            assert answer.status_code == 400
            assert says in answer.json()["error"]["message"]
