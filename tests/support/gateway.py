"""A real gateway in this process: runtime, Hypercorn and all, on a free loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from nexus_proxy.api.front import Front
from nexus_proxy.cli.assemble import own_addresses
from nexus_proxy.config.model import Config, Loaded
from nexus_proxy.events import Bus, Event
from nexus_proxy.runtime import Runtime
from nexus_proxy.server.gateway import Gateway
from nexus_proxy.server.listen import bind, endpoint
from nexus_proxy.state import BackendState
from nexus_proxy.telemetry.logs import Logs

PATIENCE = 25.0


@dataclass
class RunningGateway:
    """A gateway under test and a client that talks to it over HTTP."""

    url: str
    runtime: Runtime
    gateway: Gateway
    client: httpx.AsyncClient

    async def until(self, condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
        """Wait until `condition` holds, looked at after each event."""
        await until(self.runtime.bus, condition, seconds=seconds)

    async def up(self, *names: str) -> None:
        """Wait until the named backends are up."""
        registry = self.runtime.registry
        await self.until(
            lambda: all(n in registry and registry.get(n).health is BackendState.UP for n in names)
        )

    async def chat(
        self, model: str = "m", headers: Mapping[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        """A chat request with one short user message."""
        messages = body.pop("messages", [{"role": "user", "content": "hi"}])
        return await self.client.post(
            "/v1/chat/completions",
            json={"model": model, "messages": messages, **body},
            headers=headers,
        )


async def until(bus: Bus, condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
    """Wait until `condition` holds, looked at after each event on `bus`. Fails after `seconds`."""
    changed = asyncio.Event()

    def look(_event: Event) -> None:
        changed.set()

    unsubscribe = bus.subscribe(look)
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await changed.wait()
                changed.clear()
    finally:
        unsubscribe()


def backend_entry(name: str, url: str, **more: Any) -> dict[str, Any]:
    """One `[[backends]]` table."""
    return {"name": name, "url": url, "type": "generic", **more}


def backend_toml(url: str) -> str:
    """The table of a backend called `one`, as a file has it."""
    return f'[[backends]]\nname = "one"\nurl = "{url}"\ntype = "generic"\n'


@asynccontextmanager
async def running_gateway(
    backends: Sequence[Mapping[str, Any]] = (),
    *,
    wait_up: bool = True,
    environ: Mapping[str, str] | None = None,
    path: Path | None = None,
    logs: Logs | None = None,
    make: type[Gateway] = Gateway,
    port: int = 0,
    **tables: Any,
) -> AsyncIterator[RunningGateway]:
    """Start a gateway with these `[[backends]]` and further tables (`routing={…}`).

    `make` is another kind of `Gateway`; `port` 0: a free one.
    """
    raw: dict[str, Any] = {
        "discovery": {"enabled": False},
        "health_check": {"interval_seconds": 0.2, "timeout_seconds": 2.0},
        "backends": list(backends),
        **tables,
    }
    config = msgspec.convert(raw, Config)
    sock = bind("127.0.0.1", port)
    logs = logs or Logs(config.logging, secrets=(environ or {}).values(), to_stderr=False)
    logs.install()
    runtime = Runtime(
        Loaded(config=config, path=str(path) if path else None),
        logs=logs,
        environ=environ or {},
        endpoint=endpoint(sock),
        explicit=str(path) if path else None,
    )
    runtime.discovery.own_addresses |= own_addresses(sock)
    gateway = make(runtime, Front(runtime, loopback=True), sock)
    await gateway.start()
    try:
        async with httpx.AsyncClient(
            base_url=runtime.endpoint, timeout=30.0, trust_env=False, verify=False
        ) as client:
            running = RunningGateway(runtime.endpoint, runtime, gateway, client)
            if wait_up:
                await running.up(*(str(b["name"]) for b in backends if b.get("enabled", True)))
            yield running
    finally:
        await gateway.stop()
        logs.remove()
