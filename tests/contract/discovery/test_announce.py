"""`nexus announce` on one side, a gateway that browses on the other."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from click.testing import CliRunner

from nexus_proxy.cli.announce import _announce, announce
from nexus_proxy.config.model import BackendType, DiscoveryConfig
from nexus_proxy.discovery import announce as announcing
from nexus_proxy.discovery.announce import Announcement, announced
from nexus_proxy.errors import CommandError
from nexus_proxy.registry import Backend
from nexus_proxy.tasks import spawn
from tests.contract.discovery.world import LOOPBACK, World, discovering, nexus, ollama
from tests.support.scripted import ScriptedBackend, faults


def browse(*types: str) -> DiscoveryConfig:
    return DiscoveryConfig(
        local_ports=False,
        cloud_from_env=False,
        service_types=[f"_{name}._tcp.local." for name in types],
        grace_period_seconds=0.05,
    )


@asynccontextmanager
async def on_the_air(url: str, name: str | None = None) -> AsyncIterator[Announcement]:
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        announced(url, name, client=client, interfaces=LOOPBACK) as said,
    ):
        yield said


def at(world: World, url: str) -> Backend | None:
    """The backend at this URL; other processes may announce on this machine too."""
    return next((backend for backend in world.backends if backend.url == url), None)


async def test_what_is_announced_is_found_and_goes_with_its_announcement() -> None:
    async with ollama("m") as server, discovering(browse("ollama")) as world:
        async with on_the_air(server.url, "Big Box") as said:
            assert (said.service_type, said.kind) == ("_ollama._tcp.local.", "ollama")
            assert (said.addresses, said.port) == (("127.0.0.1",), server.port)
            assert (said.instance, said.warning) == ("ollama on Big-Box", None)
            await world.heard.until(lambda: at(world, server.url))
            backend = at(world, server.url)
            assert backend is not None
            assert (backend.type, backend.version) == (BackendType.OLLAMA, "0.33.0")
        await world.heard.until(lambda: not at(world, server.url))


@pytest.mark.parametrize(
    ("server", "service_type", "kind"),
    [
        (ScriptedBackend(owned_by="vllm"), "_llm._tcp.local.", "vllm"),
        (nexus("another"), "_nexus._tcp.local.", "nexus"),
    ],
)
async def test_other_kinds_are_announced_by_their_own_type(
    server: ScriptedBackend, service_type: str, kind: str
) -> None:
    async with server, on_the_air(server.url) as said:
        assert (said.service_type, said.kind) == (service_type, kind)


async def test_a_server_that_only_this_machine_reaches_is_announced_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(announcing, "_lan_addresses", lambda: ["127.0.0.2"])
    async with (
        ollama("m") as server,
        httpx.AsyncClient(trust_env=False) as client,
        announced(server.url, None, client=client) as said,
    ):
        assert said.addresses == ("127.0.0.2",)
        assert said.warning is not None
        assert said.warning.startswith("it listens on this machine only")
        assert said.warning.endswith("start it with OLLAMA_HOST=0.0.0.0")


async def test_what_cannot_be_announced() -> None:
    async with ScriptedBackend() as server:
        server.behave(faults.html, on="probes")
        with pytest.raises(CommandError, match="a web page answers there"):
            async with on_the_air(server.url):
                pass
        with pytest.raises(CommandError, match="is not on this machine; run nexus announce"):
            async with on_the_air("http://10.9.8.7:11434"):
                pass
        with pytest.raises(CommandError, match="use http:// or https://"):
            async with on_the_air("ftp://localhost"):
                pass


async def test_the_command_follows_this_machine_to_another_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()

    async def until(part: str) -> None:
        async with asyncio.timeout(20):
            while part not in await said.get():
                pass

    addresses = ["127.0.0.2"]
    monkeypatch.setattr(announcing, "_lan_addresses", lambda: list(addresses))
    monkeypatch.setattr(announcing, "NETWORK_CHECK_SECONDS", 0.01)
    monkeypatch.setattr("click.echo", lambda line, err=False: said.put_nowait(line))
    async with ollama("m") as server:
        running = spawn(_announce(server.url, "box"), name="announce")
        await until("at 127.0.0.2, port")
        server.behave(faults.html, on="probes")
        addresses[:] = ["127.0.0.3"]
        await until("not announced for now: nothing is announced")
        server.behave(on="probes")
        await until("at 127.0.0.3, port")
        running.cancel()
        await asyncio.wait([running])


def test_the_command_fails_in_one_sentence_where_nothing_answers() -> None:
    result = CliRunner().invoke(announce, ["--url", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: nothing is announced: http://127.0.0.1:1: connection refused\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_announces_until_it_is_interrupted(number: signal.Signals) -> None:
    code = "from nexus_proxy.cli.announce import announce; announce()"
    async with ollama("m") as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            "--url",
            server.url,
            "--name",
            "box",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        async with asyncio.timeout(20):
            first = await process.stdout.readline()
            process.send_signal(number)
            rest, errors = await process.communicate()
    assert first.startswith(b"announcing ollama on box as _ollama._tcp at ")
    assert rest.endswith(b"no longer announced\n")
    assert b"Traceback" not in errors
    assert process.returncode == 0
