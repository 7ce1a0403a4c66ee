"""The demo's tour: a few real requests in a fixed order, so that each tab has something to show.

All of them name the demo's own backend and the most closed zone: no other backend, and nobody's
money, can be touched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from nexus_proxy.cli.demo import NAME
from nexus_proxy.tasks import spawn

if TYPE_CHECKING:
    import httpx

    from nexus_proxy.runtime import Runtime

log = logging.getLogger("nexus_proxy.gateway")

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
MODEL = f"{NAME}/smollm2"
MOST_SECONDS = 90.0
PAUSE_SECONDS = 1.0
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def _chat(question: str, *, max_tokens: int = 48, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": MODEL, "messages": messages, "max_tokens": max_tokens, **more}


Stop = tuple[str, str, tuple[Mapping[str, Any], ...]]
"""What is to be seen, a path, and what is asked there at the same time."""

STOPS: tuple[Stop, ...] = (
    ("a streamed answer", CHAT, (_chat("Name three rivers of Europe.", stream=True),)),
    (
        "a tool call",
        CHAT,
        (_chat("What is the weather in Zurich?", tools=[_TOOL], tool_choice="required"),),
    ),
    ("an embedding", EMBEDDINGS, ({"model": MODEL, "input": "a sentence as a vector"},)),
    (
        "four at once for two slots, so that two queue",
        CHAT,
        tuple(_chat(f"Count from {n} to {n + 20}.", stream=True) for n in range(4)),
    ),
    (
        "a model that does not exist, which fails",
        CHAT,
        ({**_chat("Hello?"), "model": f"{NAME}/smollm3"},),
    ),
)


@asynccontextmanager
async def touring(runtime: Runtime, *, wanted: bool) -> AsyncIterator[None]:
    """Play the tour beside what is done here; over with it, at the latest."""
    if not wanted:
        yield
        return
    task = spawn(_tour(runtime.endpoint), name="demo tour")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _tour(endpoint: str) -> None:
    import httpx

    headers = {"x-nexus-zone": "restricted", "user-agent": "nexus-demo-tour"}
    try:
        async with (
            asyncio.timeout(MOST_SECONDS),
            httpx.AsyncClient(
                base_url=endpoint, headers=headers, timeout=MOST_SECONDS, trust_env=False
            ) as client,
        ):
            for number, (sight, path, bodies) in enumerate(STOPS, start=1):
                log.info("tour, %d of %d: %s", number, len(STOPS), sight)
                await asyncio.gather(*(_ask(client, path, body) for body in bodies))
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        log.info("the tour took longer than %.0f s and ends here", MOST_SECONDS)
    except httpx.HTTPError as error:
        log.warning("the tour ends here: %s", str(error) or type(error).__name__)
    else:
        log.info("the tour is over; `c` on a model chats with it")


async def _ask(client: httpx.AsyncClient, path: str, body: Mapping[str, Any]) -> None:
    async with client.stream("POST", path, json=dict(body)) as response:
        async for _ in response.aiter_bytes():
            pass
