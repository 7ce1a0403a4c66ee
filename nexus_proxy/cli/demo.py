"""`--demo`: the embedded real backend, for as long as the gateway runs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nexus_proxy.config.model import BackendType
from nexus_proxy.demo import DemoBackend
from nexus_proxy.errors import NexusError
from nexus_proxy.runtime import Runtime
from nexus_proxy.state import Source

log = logging.getLogger("nexus_proxy.gateway")

NAME = "demo"


@asynccontextmanager
async def demo_backend(runtime: Runtime, *, wanted: bool) -> AsyncIterator[None]:
    """Start the demo server and list it. Raises `DemoError` when it cannot be had."""
    if not wanted:
        yield
        return
    backend = DemoBackend(on_crash=_crashed)
    url = await backend.start()
    try:
        await runtime.discovery.add_url(
            url, name=NAME, type_=BackendType.LLAMACPP, source=Source.DEMO
        )
        await runtime.health.check(NAME)
        log.info("the demo model is ready; ask it:\n%s", curl_example(runtime.endpoint))
        yield
    finally:
        await backend.stop()


def curl_example(endpoint: str) -> str:
    """A command that a newcomer can paste."""
    return (
        f"  curl {endpoint}/v1/chat/completions -H 'Content-Type: application/json' -d "
        '\'{"model": "smollm2", "messages": [{"role": "user", "content": "Say hello."}]}\''
    )


def _crashed(error: NexusError) -> None:
    log.error("%s", error)
