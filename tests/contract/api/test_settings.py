"""One key of the configuration at a time: told, drafted, set, unset, undone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.api.test_management import message, verb
from tests.support.gateway import RunningGateway, backend_entry, backend_toml, running_gateway
from tests.support.scripted import ScriptedBackend

HASH = "sha256:" + "ab" * 32


@asynccontextmanager
async def gateway_of(
    tmp_path: Path, text: str, environ: dict[str, str] | None = None
) -> AsyncIterator[tuple[RunningGateway, Path]]:
    """A gateway as the file says, which holds `text` and one backend."""
    async with ScriptedBackend(["m"]) as one:
        file = tmp_path / "nexus.toml"
        entry = backend_toml(one.url)
        file.write_text(f"[discovery]\nenabled = false\n{text}{entry}")
        entries = [backend_entry("one", one.url)]
        async with running_gateway(entries, path=file, environ=environ) as gateway:
            await gateway.runtime.reload_config()
            yield gateway, file


async def told(gateway: RunningGateway) -> dict[str, dict[str, Any]]:
    answer = await gateway.client.get("/nexus/v1/config")
    return {value["key"]: value for value in answer.json()["values"]}


async def drafted(gateway: RunningGateway, key: str, value: Any) -> httpx.Response:
    return await gateway.client.post("/nexus/v1/config/draft", json={"key": key, "value": value})


async def test_every_key_tells_its_origin_its_help_and_what_it_takes(tmp_path: Path) -> None:
    text = f'[[keys]]\nname = "k"\nhash = "{HASH}"\n[routing]\nmax_retries = 3\n'
    async with gateway_of(tmp_path, text, {"NEXUS_LOG_LEVEL": "debug"}) as (gateway, file):
        values = await told(gateway)
    retries = values["routing.max_retries"]
    assert (retries["value"], retries["origin"]) == (3, f"{file}:7")
    assert retries["wanted"] == "a whole number from 0 to 10"
    assert retries["help"].startswith("Further attempts")
    assert values["logging.level"]["origin"] == "NEXUS_LOG_LEVEL"
    assert values["server.port"]["is_late"]
    assert values["backends.one.priority"]["origin"] == "default"
    assert values["keys.k.hash"]["value"] == "sha256:aba•••"


async def test_a_draft_shows_the_diff_and_changes_nothing(tmp_path: Path) -> None:
    text = "[routing]\nmax_retries = 3  # enough\n"
    async with gateway_of(tmp_path, text) as (gateway, file):
        before = file.read_text()
        answer = await drafted(gateway, "routing.max_retries", "5")
        assert file.read_text() == before
    draft = answer.json()
    assert (draft["value"], draft["notes"]) == (5, [])
    assert "-max_retries = 3  # enough" in draft["diff"]
    assert "+max_retries = 5  # enough" in draft["diff"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("routing.max_retries", "many", "a whole number from 0 to 10, but is text"),
        ("routing.max_retries", "11", "from 0 to 10, but is 11"),
        ("routing.strategy", "smrt", 'did you mean "smart"?'),
        ("routing.strategi", "smart", "did you mean routing.strategy?"),
        ("server.host", "not a host", "server.host: is not an address or a host name"),
        ("backends.one.name", "two", "keeps its name"),
        ("backends.one.url", None, "is missing"),
        ("routing.aliases", '{ gpt = "m" }', "set its keys"),
        ("server.", "x", "no key"),
    ],
)
async def test_what_does_not_fit_is_refused_in_words_and_nothing_is_written(
    tmp_path: Path, key: str, value: Any, said: str
) -> None:
    async with gateway_of(tmp_path, "[routing]\nmax_retries = 3\n") as (gateway, file):
        before = file.read_text()
        refused = await drafted(gateway, key, value)
        name, given = ("config.unset", {}) if value is None else ("config.set", {"value": value})
        again = await verb(gateway, name, key=key, **given)
        assert file.read_text() == before
    assert refused.status_code in {404, 409}
    assert said in message(refused)
    assert said in message(again)


@pytest.mark.parametrize(
    ("key", "text", "written", "live"),
    [
        ("routing.max_retries", "5", "max_retries = 5", 5),
        ("routing.strategy", "random", 'strategy = "random"', "random"),
        ("quality.min_samples", "9", "min_samples = 9", 9),
        ("queue.enabled", "off", "enabled = false", False),
        ("timeouts.total_seconds", "60.5", "total_seconds = 60.5", 60.5),
        ("server.allowed_origins", "a.example, b.example", '["a.example", "b.example"]', None),
        ("backends.one.tags", '["x"]', 'tags = ["x"]', ["x"]),
        ('routing.aliases."gpt-4.1"', "m", '"gpt-4.1" = "m"', "m"),
    ],
)
async def test_a_key_is_set_live_and_undone(
    tmp_path: Path, key: str, text: str, written: str, live: Any
) -> None:
    async with gateway_of(tmp_path, "# mine\n[routing]\nmax_retries = 3\n") as (gateway, file):
        before, values = file.read_text(), await told(gateway)
        done = await verb(gateway, "config.set", key=key, value=text)
        assert done.status_code == 200, done.text
        assert written in file.read_text()
        if live is not None:
            assert (await told(gateway))[key]["value"] == live
        undo = done.json()["inverse"]
        undone = await verb(gateway, undo["verb"], **undo["arguments"])
        assert undone.status_code == 200, undone.text
        after = await told(gateway)
        assert {k: v["value"] for k, v in after.items()} == {
            k: v["value"] for k, v in values.items()
        }
        assert "# mine" in file.read_text()
        if "max_retries" in key:
            assert file.read_text() == before


async def test_what_an_edit_does_beside_the_file_is_noted(tmp_path: Path) -> None:
    environ = {"NEXUS_LOG_LEVEL": "info"}
    async with gateway_of(tmp_path, "", environ) as (gateway, _):
        await verb(gateway, "backend.zone", backend="one", zone="internal")
        late = await drafted(gateway, "server.port", "9000")
        over = await drafted(gateway, "logging.level", "debug")
        zone = await drafted(gateway, "backends.one.zone", "restricted")
        asked = await verb(
            gateway, "config.set/consequence", key="routing.strategy", value="random"
        )
    assert late.json()["notes"] == ["It takes effect with the next start."]
    assert "NEXUS_LOG_LEVEL counts over the file" in over.json()["notes"][0]
    assert "Prompts that must stay in zone restricted may then be sent" in zone.json()["notes"][0]
    question = asked.json()["question"]
    assert question.startswith('Set routing.strategy to "random"?\n')
    assert '+strategy = "random"' in question


async def test_a_diff_shows_no_hash_of_a_key(tmp_path: Path) -> None:
    text = f'[[keys]]\nname = "k"\nhash = "{HASH}"\n[routing]\n'
    async with gateway_of(tmp_path, text) as (gateway, _):
        answer = await drafted(gateway, "routing.max_retries", "5")
    assert ' hash = "sha256:aba•••"' in answer.json()["diff"]
    assert "ab" * 32 not in answer.text
