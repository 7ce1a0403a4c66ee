"""Every verb that changes something tells what undoes it, and what it does to traffic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nexus_proxy.commands import COMMANDS
from nexus_proxy.config.load import load
from nexus_proxy.state import Snapshot
from tests.contract.api.test_management import message, verb
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

ROUTING = '[routing.aliases]\ngpt = "m"  # ours\n[routing.fallbacks]\nm = ["n"]\n'


@asynccontextmanager
async def two_backends(
    tmp_path: Path, routing: str = ROUTING
) -> AsyncIterator[tuple[RunningGateway, Path]]:
    """`one` serves m and n, `two` serves m; all as a file says."""
    async with ScriptedBackend(["m", "n"]) as one, ScriptedBackend(["m"]) as two:
        file = tmp_path / "nexus.toml"
        tables = "".join(
            f'[[backends]]\nname = "{name}"\nurl = "{backend.url}"\ntype = "generic"\n'
            "priority = 30\ntier = 2\n"
            for name, backend in (("one", one), ("two", two))
        )
        file.write_text(f"# mine\n[discovery]\nenabled = false\n{routing}{tables}")
        entries = [
            backend_entry(name, backend.url, priority=30, tier=2)
            for name, backend in (("one", one), ("two", two))
        ]
        async with running_gateway(entries, path=file) as gateway:
            await gateway.runtime.reload_config()
            await gateway.up("one", "two")
            yield gateway, file


async def seen(gateway: RunningGateway) -> dict[str, Any]:
    """All that an operator can change, as the screen sees it."""
    answer = await gateway.client.get("/nexus/v1/state")
    snapshot = msgspec.json.decode(answer.content, type=Snapshot)
    switches = {
        b.name: (b.zone, b.tier, b.priority, b.tags, b.drained, b.enabled, b.accepted)
        for b in snapshot.backends
    }
    return {
        "backends": switches,
        "pins": snapshot.pins,
        "aliases": snapshot.aliases,
        "fallbacks": snapshot.fallbacks,
        "airplane": snapshot.airplane,
    }


ACTS: list[tuple[str, dict[str, Any]]] = [
    ("backend.remove", {"backend": "one"}),
    ("backend.drain", {"backend": "one"}),
    ("backend.disable", {"backend": "one"}),
    ("backend.zone", {"backend": "one", "zone": "internal"}),
    ("backend.priority", {"backend": "one", "priority": 7}),
    ("backend.tags", {"backend": "one", "tags": "fast,gpu"}),
    ("backend.pin", {"backend": "one", "model": "m"}),
    ("gateway.airplane", {"state": "on"}),
    ("alias.set", {"alias": "claude-*", "model": "m"}),
    ("alias.set", {"alias": "gpt", "model": "n"}),
    ("alias.remove", {"alias": "gpt"}),
    ("fallback.set", {"model": "n", "models": ["m"]}),
    ("fallback.set", {"model": "m", "models": "other"}),
    ("fallback.remove", {"model": "m"}),
]
"""What is done, so that its inverse undoes it."""
ELSEWHERE = {
    *("backend.add", "backend.accept", "backend.restore", "backend.resume", "backend.unpin"),
    *("model.load", "model.migrate"),
}
"""Verbs whose undoing other tests hold."""
CHANGE_NOTHING = {"backend.check", "config.reload"}


def test_every_verb_can_be_undone_or_asks_or_changes_nothing() -> None:
    undone = {name for name, _ in ACTS} | ELSEWHERE | CHANGE_NOTHING
    asking = {one.name for one in COMMANDS if one.consequence is not None}
    assert {one.name for one in COMMANDS} == undone | asking


@pytest.mark.parametrize(("name", "arguments"), ACTS)
async def test_the_inverse_undoes_and_the_inverse_of_that_does_it_again(
    tmp_path: Path, name: str, arguments: dict[str, Any]
) -> None:
    async with two_backends(tmp_path) as (gateway, file):
        before, kept = await seen(gateway), load(str(file), environ={}).config
        done = await verb(gateway, name, **arguments)
        assert done.status_code == 200, done.text
        after = await seen(gateway)
        assert after != before
        undo = done.json()["inverse"]
        undone = await verb(gateway, undo["verb"], **undo["arguments"])
        assert undone.status_code == 200, undone.text
        assert await seen(gateway) == before
        again = undone.json()["inverse"]
        await verb(gateway, again["verb"], **again["arguments"])
        assert await seen(gateway) == after
        await verb(gateway, undo["verb"], **undo["arguments"])
        now = load(str(file), environ={}).config
    by_name = {entry.name: entry for entry in now.backends}
    assert {name: entry.tier for name, entry in by_name.items()} == {"one": 2, "two": 2}
    assert (now.routing.aliases, now.routing.fallbacks) == (
        kept.routing.aliases,
        kept.routing.fallbacks,
    )
    assert file.read_text().startswith("# mine\n")


async def test_a_backend_that_was_added_and_one_that_was_accepted_can_be_undone(
    tmp_path: Path,
) -> None:
    async with two_backends(tmp_path) as (gateway, _), ScriptedBackend(["new"]) as other:
        added = await verb(gateway, "backend.add", url=other.url, name="three")
        gateway.runtime.registry.get("two").accepted = False
        accepted = await verb(gateway, "backend.accept", backend="two")
        for answer in (added, accepted):
            undo = answer.json()["inverse"]
            await verb(gateway, undo["verb"], **undo["arguments"])
        after = await seen(gateway)
    assert after["backends"].keys() == {"one", "two"}
    assert not gateway.runtime.registry.get("two").enabled


async def test_a_removed_backend_comes_back_with_its_pins_and_at_once(tmp_path: Path) -> None:
    async with two_backends(tmp_path) as (gateway, file):
        await verb(gateway, "backend.pin", model="m", backend="one")
        await verb(gateway, "backend.remove", backend="one")
        assert "one" not in file.read_text()
        back = await verb(gateway, "backend.restore", backend="one")
        assert back.json()["message"].startswith("one is back: ")
        assert gateway.runtime.registry.pins == {"m": "one"}
        assert (await gateway.chat("n")).status_code == 200
        twice = await verb(gateway, "backend.restore", backend="one")
    assert twice.status_code == 404
    assert "since the start: none" in message(twice)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("backend.resume", {"backend": "one"}),
        ("backend.accept", {"backend": "one"}),
        ("backend.priority", {"backend": "one", "priority": 30}),
        ("backend.check", {"backend": "one"}),
        ("alias.set", {"alias": "gpt", "model": "m"}),
        ("config.reload", {}),
    ],
)
async def test_what_changed_nothing_has_nothing_to_undo(
    tmp_path: Path, name: str, arguments: dict[str, Any]
) -> None:
    async with two_backends(tmp_path) as (gateway, _):
        done = await verb(gateway, name, **arguments)
    assert done.json()["inverse"] is None


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("alias.set", {"alias": "m", "model": "gpt"}, "circle: gpt -> m -> gpt"),
        ("fallback.set", {"model": "m", "models": "m"}, "its own fallback"),
        ("fallback.set", {"model": "m", "models": ""}, "needs models"),
        ("alias.remove", {"alias": "nobody"}, "there are: gpt"),
        ("fallback.remove", {"model": "nobody"}, "there are: m"),
    ],
)
async def test_an_alias_or_fallback_that_makes_no_sense_is_refused_and_nothing_changes(
    tmp_path: Path, name: str, arguments: dict[str, Any], said: str
) -> None:
    async with two_backends(tmp_path) as (gateway, file):
        before, text = await seen(gateway), file.read_text()
        refused = await verb(gateway, name, **arguments)
        assert await seen(gateway) == before
    assert refused.status_code in {404, 409}
    assert said in message(refused)
    assert file.read_text() == text


async def test_an_alias_works_at_once_keeps_comments_and_warns_of_what_nobody_lists(
    tmp_path: Path,
) -> None:
    async with two_backends(tmp_path) as (gateway, file):
        done = await verb(gateway, "alias.set", alias="claude-*", model="n")
        assert (await gateway.chat("claude-3")).json()["model"] == "claude-3"
        warned = await verb(gateway, "alias.set", alias="later", model="nn")
        hidden = await verb(gateway, "alias.set", alias="n", model="m")
    assert done.json()["message"] == "claude-* stands for n"
    assert "The model 'nn' does not exist here. Did you mean 'n'" in warned.json()["message"]
    assert "the model of that name on one is hidden" in hidden.json()["message"]
    assert 'gpt = "m"  # ours' in file.read_text()


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("backend.drain", {"backend": "one"}, "nobody else serves n; m goes to two"),
        ("backend.remove", {"backend": "one"}, "Nothing runs there now; nobody else serves n"),
        ("backend.disable", {"backend": "one"}, "m goes to two"),
    ],
)
async def test_the_question_says_where_requests_will_go(
    tmp_path: Path, name: str, arguments: dict[str, Any], said: str
) -> None:
    async with two_backends(tmp_path) as (gateway, _):
        asked = await verb(gateway, f"{name}/consequence", **arguments)
    assert said in asked.json()["question"]


@pytest.mark.parametrize("name", ["backend.drain", "backend.disable"])
async def test_nothing_is_asked_where_nobody_is_affected(tmp_path: Path, name: str) -> None:
    async with two_backends(tmp_path) as (gateway, _):
        asked = await verb(gateway, f"{name}/consequence", backend="two")
        done = await verb(gateway, name, backend="two")
        again = await verb(gateway, f"{name}/consequence", backend="two")
    assert (asked.json()["question"], again.json()["question"]) == (None, None)
    assert "nothing runs there" in done.json()["message"]


async def test_who_is_down_or_drained_is_nobody_to_go_to_but_a_fallback_is_told(
    tmp_path: Path,
) -> None:
    async with two_backends(tmp_path) as (gateway, _):
        await verb(gateway, "backend.drain", backend="two")
        asked = await verb(gateway, "backend.drain/consequence", backend="one")
    assert "nobody else serves m (falls back to n), n" in asked.json()["question"]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("backend.priority", {"backend": "one", "priority": 20}, "before two for the models they"),
        ("backend.priority", {"backend": "one", "priority": 40}, "after two for the models they"),
        ("backend.zone", {"backend": "one", "zone": "internal"}, "nobody else of that zone serves"),
        ("backend.pin", {"backend": "one", "model": "m"}, "; two only where it cannot"),
        ("backend.pin", {"backend": "two", "model": "n"}, "two does not list it"),
    ],
)
async def test_what_needs_no_question_says_what_it_changed(
    tmp_path: Path, name: str, arguments: dict[str, Any], said: str
) -> None:
    async with two_backends(tmp_path) as (gateway, _):
        done = await verb(gateway, name, **arguments)
    assert said in done.json()["message"]


async def test_a_pin_to_who_takes_no_requests_says_where_they_go_until_it_does(
    tmp_path: Path,
) -> None:
    async with two_backends(tmp_path) as (gateway, _):
        await verb(gateway, "backend.drain", backend="one")
        done = await verb(gateway, "backend.pin", backend="one", model="m")
    assert "one is draining, and until it takes requests m goes to two" in done.json()["message"]
