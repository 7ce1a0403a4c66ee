"""`nexus doctor`: each finding with its cure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from nexus_proxy.cli.checks import installation, ports
from nexus_proxy.cli.checks.finding import Case, Level
from nexus_proxy.config.model import Config, Loaded
from nexus_proxy.discovery.local_ports import WellKnown
from tests.contract.cli.terminal import Shell, scene
from tests.contract.discovery.announcer import announcer
from tests.support.scripted import Exchange, ScriptedBackend

QUIET = "[discovery]\nmdns = false\n"
"""Two seconds less for each test that is not about mDNS."""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Where nobody listens: the discard port."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "nexus.toml").write_text(QUIET)
    return Shell(home, {"NEXUS_PORT": "9"})


@contextmanager
def only(findings: list[dict[str, Any]], check: str, *words: str) -> Iterator[dict[str, Any]]:
    """The one finding of a check that says all the words."""
    found = [
        finding
        for finding in findings
        if finding["check"] == check and all(word in finding["message"] for word in words)
    ]
    assert len(found) == 1, (check, words, findings)
    yield found[0]


async def findings(shell: Shell, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    done = await shell.nexus("doctor", "--json", *arguments)
    assert done.code == code, done.out + done.err
    found: list[dict[str, Any]] = done.json()
    return found


async def test_each_finding_is_a_line_with_a_word_and_the_fix(shell: Shell) -> None:
    done = await shell.nexus("doctor")
    assert done.code == 0
    *lines, summary = done.out.splitlines()
    assert all(line.split()[0] in ("ok", "warn", "fail") for line in lines)
    gateway = next(line for line in lines if line.split()[1] == "gateway")
    assert "no gateway runs at http://127.0.0.1:9. Fix: `nexus` starts one" in gateway
    assert "warning" in summary


async def test_a_running_gateway_and_its_backends_are_well(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        (here.shell.home / "nexus.toml").write_text(QUIET)
        found = await findings(here.shell)
    with only(found, "gateway", here.gateway.url) as gateway:
        assert gateway["level"] == "ok"
    with only(found, "backends", "one", "1 model") as backend:
        assert backend["level"] == "ok"


async def test_backends_that_get_no_requests_say_why(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"], ["m"], ["m"]) as here:
        (here.shell.home / "nexus.toml").write_text(QUIET)
        registry = here.gateway.runtime.registry
        registry.set_drained("one", True)
        registry.get("two").accepted = False
        here.backends[2].refuse()
        here.backends[2].drop_connections()
        await here.gateway.until(lambda: registry.get("three").state.value == "down")
        found = await findings(here.shell, code=1)
    with only(found, "backends", "one (") as drained:
        assert drained["fix"] == "nexus backends resume one"
    with only(found, "backends", "two (") as stranger:
        assert stranger["fix"] == "nexus backends accept two"
    with only(found, "backends", "three (") as down:
        assert down["level"] == "fail"


async def test_a_small_context_is_named_with_what_makes_it_larger(tmp_path: Path) -> None:
    models = [
        {"id": "cut", "owned_by": "llamacpp", "meta": {"n_ctx": 4096, "n_ctx_train": 131072}},
        {"id": "whole", "owned_by": "llamacpp", "meta": {"n_ctx": 8192, "n_ctx_train": 8192}},
    ]
    async with scene(tmp_path, models, kind="llamacpp") as here:
        (here.shell.home / "nexus.toml").write_text(QUIET)
        found = await findings(here.shell)
    with only(found, "context") as finding:
        assert finding["level"] == "warn"
        assert "cut has 4096 of 131072 tokens" in finding["message"]
        assert "larger -c" in finding["fix"]


async def test_a_clock_that_differs_is_noticed(tmp_path: Path) -> None:
    async def late(exchange: Exchange) -> None:
        await exchange.json(
            200,
            {"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]},
            headers={"date": "Mon, 01 Jan 2024 00:00:00 GMT"},
        )

    async with scene(tmp_path, ["m"]) as here:
        (here.shell.home / "nexus.toml").write_text(QUIET)
        here.backends[0].routes["/v1/models"] = late
        found = await findings(here.shell)
    with only(found, "clock", "one", "behind") as finding:
        assert finding["level"] == "warn"


def test_a_clock_behind_its_own_files_is_noticed() -> None:
    assert list(installation.clock()) == []
    (finding,) = installation.clock(now=1_000_000_000.0)
    assert finding.level is Level.WARN


async def test_another_program_at_the_address_is_a_failure_with_a_free_port(shell: Shell) -> None:
    async with ScriptedBackend(["m"]) as backend:
        found = await findings(shell.also(NEXUS_PORT=str(backend.port)), code=1)
    with only(found, "gateway", f"generic has http://127.0.0.1:{backend.port}") as finding:
        assert "nexus --port" in finding["fix"]
        assert "backend" in finding["fix"]


async def test_an_invalid_file_is_a_failure_and_the_rest_goes_on(shell: Shell) -> None:
    (shell.home / "nexus.toml").write_text("[discovery]\nmdns = false\nmndsn = 1\n[serv]\n")
    found = await findings(shell, code=1)
    with only(found, "config", "nexus.toml:3") as finding:
        assert finding["level"] == "fail"
    assert any(finding["check"] == "ports" for finding in found)


async def test_variables_are_checked_and_keys_never_shown(shell: Shell) -> None:
    async with ScriptedBackend() as backend:
        (shell.home / "nexus.toml").write_text(
            f'{QUIET}[[backends]]\nname = "box"\nurl = "http://10.0.0.1"\napi_key_env = "BOX_KEY"\n'
        )
        there = shell.also(
            OLLAMA_HOST="127.0.0.1:9",
            OPENAI_BASE_URL=backend.url,
            OPENAI_API_KEY="sk-very-secret",
        )
        done = await there.nexus("doctor", "--json")
        assert backend.requests == []
    found = done.json()
    with only(found, "environment", "OLLAMA_HOST", "nothing listens") as finding:
        assert finding["level"] == "warn"
    with only(found, "environment", "OPENAI_BASE_URL", "answers"):
        pass
    with only(found, "environment", "BOX_KEY") as finding:
        assert "export BOX_KEY" in finding["fix"]
    with only(found, "environment", "OPENAI_API_KEY is set"):
        pass
    assert "sk-very-secret" not in done.out


async def test_a_switched_off_discovery_is_the_reason(shell: Shell) -> None:
    (shell.home / "nexus.toml").write_text("[discovery]\nenabled = false\n")
    found = await findings(shell)
    with only(found, "config", "discovery is off", "nexus.toml:2") as finding:
        assert finding["level"] == "warn"


async def test_announcements_are_heard(shell: Shell) -> None:
    async with announcer() as there:
        await there.announce(there.service(4711))
        (shell.home / "nexus.toml").write_text(
            f'[discovery]\nservice_types = ["{there.service_type}"]\n'
        )
        found = await findings(shell)
    with only(found, "mdns", "http://127.0.0.1:4711") as finding:
        assert finding["level"] == "ok"


async def test_a_usual_port_is_identified(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:

    async with (
        ScriptedBackend(["m"], owned_by="vllm", routes={"/version": {"version": "0.32.0"}}) as vllm,
        ScriptedBackend(routes={"/v1/models": "<html>"}) as web,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        usual = (WellKnown(vllm.port, "vLLM"), WellKnown(web.port, "web"), WellKnown(9, "closed"))
        monkeypatch.setattr(ports, "WELL_KNOWN", usual)
        case = Case(
            environ={}, loaded=Loaded(config=Config()), url="http://127.0.0.1:8000", client=client
        )
        found = [finding async for finding in ports.local(case)]
    assert [finding.level for finding in found] == [Level.OK, Level.WARN, Level.OK]
    assert found[0].message == f"127.0.0.1:{vllm.port} is vllm 0.32.0"
    assert "no LLM server" in found[1].message
    assert found[2].message == "nothing listens on 9 (closed)"
