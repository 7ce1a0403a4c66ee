"""`nexus aliases` and `nexus fallbacks`: listed, set, removed, and kept."""

from __future__ import annotations

from pathlib import Path

from tests.contract.cli.terminal import scene


async def test_aliases_are_set_listed_and_removed(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        empty = await here.nexus("aliases", "list")
        done = await here.nexus("aliases", "set", "gpt-*", "m")
        assert (await here.gateway.chat("gpt-4o")).status_code == 200
        listed = await here.nexus("aliases", "list")
        as_json = await here.nexus("aliases", "list", "--json")
        assert '"gpt-*" = "m"' in here.file.read_text()
        circle = await here.nexus("aliases", "set", "m", "gpt-4")
        await here.nexus("aliases", "remove", "gpt-*")
        assert (await here.gateway.chat("gpt-4o")).status_code == 404
    assert (empty.out, "nexus aliases set" in empty.err) == ("", True)
    assert done.out == "gpt-* stands for m\n"
    assert listed.out.split() == ["ALIAS", "MODEL", "gpt-*", "m"]
    assert as_json.json() == {"gpt-*": "m"}
    assert circle.code == 1
    assert "goes in a circle" in circle.err


async def test_fallbacks_are_set_listed_and_removed(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        done = await here.nexus("fallbacks", "set", "big", "huge", "m")
        listed = await here.nexus("fallbacks", "list")
        as_json = await here.nexus("fallbacks", "list", "--json")
        removed = await here.nexus("fallbacks", "remove", "big", "--json")
    assert done.out.startswith("big falls back to huge, then m. The model 'big' does not exist")
    assert listed.out.splitlines()[1].split() == ["big", "huge,", "m"]
    assert as_json.json() == {"big": ["huge", "m"]}
    assert removed.json()["inverse"]["arguments"] == {"model": "big", "models": ["huge", "m"]}
