"""`nexus config set|unset`: one key of the file that the running gateway uses."""

from __future__ import annotations

from pathlib import Path

from tests.contract.cli.terminal import scene


async def test_a_key_is_set_checked_and_unset(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        await here.gateway.runtime.reload_config()
        done = await here.nexus("config", "set", "routing.max_retries", "4")
        assert here.gateway.runtime.config.routing.max_retries == 4
        assert "max_retries = 4" in here.file.read_text()
        shown = await here.nexus("config", "show", "--url", here.gateway.url)
        data = await here.nexus("config", "show", "--url", here.gateway.url, "--json")
        wrong = await here.nexus("config", "set", "routing.max_retries", "many")
        await here.nexus("config", "unset", "routing.max_retries")
        assert here.gateway.runtime.config.routing.max_retries == 2
        assert "max_retries" not in here.file.read_text()
    assert done.out == "routing.max_retries is set to 4\n"
    line = next(x for x in shown.out.splitlines() if x.startswith("routing.max_retries "))
    assert "= 4 " in line
    assert "gateway.toml:" in line
    assert {one["key"]: one["value"] for one in data.json()["values"]}["routing.max_retries"] == 4
    assert wrong.code == 1
    assert "must be a whole number from 0 to 10, but is text" in wrong.err
