"""First-token time of turn N of a conversation, with and without going back to who has read it.

    python -m tests.bench.affinity [--turns N] [--conversations N] [--seed N] [--direct] [--json]

Two real llama.cpp servers with two slots each; several conversations grow in turn, one request at a
time, each turn with the answer before it and a new message of some 120 tokens. `--direct` sends
them straight to the servers, to one and the same for each conversation or to either at random:
what affinity can bring at best. Without it they go through a Nexus, by the strategies `random` and
`smart`, and `smart` with `X-Nexus-Session`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from tests.support.gateway import backend_entry, running_gateway
from tests.support.llama import LlamaServer, start_llama

MODEL = "smollm2"
ANSWER_TOKENS = 16
SLOTS, CONTEXT = 2, 8192
WORDS = (
    "river stone lamp winter garden letter bridge silver morning paper window horse orange cloud "
    "market violin harbor candle forest mirror button copper island thunder basket"
)

Place = Callable[[int], tuple[str, Mapping[str, str]]]
"""Where a turn of this conversation is sent, with which headers."""


class Conversations:
    """Conversations that grow in turn. `first_token_ms[n]` are the times of all turns n."""

    def __init__(self, client: httpx.AsyncClient, *, count: int, seed: int) -> None:
        self._client = client
        self._luck = random.Random(seed)
        self._said: list[list[dict[str, str]]] = [
            [{"role": "system", "content": f"You are assistant {number}. {self._prose(60)}"}]
            for number in range(count)
        ]
        self.first_token_ms: list[list[float]] = []
        self.reasons: dict[str, int] = {}

    async def grow(self, place: Place, turns: int) -> None:
        """Add `turns` turns to each."""
        for _ in range(turns):
            order = list(range(len(self._said)))
            self._luck.shuffle(order)
            self.first_token_ms.append([await self._turn(number, place) for number in order])

    async def _turn(self, number: int, place: Place) -> float:
        said = self._said[number]
        said.append({"role": "user", "content": f"{self._prose(80)} What do you think?"})
        url, headers = place(number)
        body = {
            "model": MODEL,
            "messages": said,
            "stream": True,
            "temperature": 0,
            "max_tokens": ANSWER_TOKENS,
        }
        began, first, answer = time.perf_counter(), None, ""
        async with self._client.stream(
            "POST", f"{url}/v1/chat/completions", json=body, headers=headers
        ) as response:
            response.raise_for_status()
            reason = response.headers.get("x-nexus-route-reason", "direct")
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
            async for line in response.aiter_lines():
                if text := _text(line):
                    first = first or time.perf_counter()
                    answer += text
        said.append({"role": "assistant", "content": answer})
        return ((first or time.perf_counter()) - began) * 1000.0

    def _prose(self, words: int) -> str:
        return " ".join(self._luck.choices(WORDS.split(), k=words)).capitalize() + "."


def _text(line: str) -> str:
    data = line.removeprefix("data: ")
    if data == line or data == "[DONE]":
        return ""
    choices = json.loads(data).get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")


async def measure(options: argparse.Namespace, place: Place) -> dict[str, Any]:
    """One way of placing turns, over fresh conversations."""
    # llama.cpp closes a connection after a stream without saying so.
    once = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=300.0, trust_env=False, limits=once) as client:
        talk = Conversations(client, count=options.conversations, seed=options.seed)
        await talk.grow(place, options.turns)
    later = [ms for turn in talk.first_token_ms[1:] for ms in turn]
    return {
        "by_turn_ms": [round(statistics.median(turn)) for turn in talk.first_token_ms],
        "median_ms_from_turn_2": round(statistics.median(later)),
        "mean_ms_from_turn_2": round(statistics.mean(later)),
        "route_reasons": talk.reasons,
    }


async def direct(options: argparse.Namespace) -> dict[str, Any]:
    """Straight to the servers."""
    figures = {}
    luck = random.Random(options.seed)
    for name in ("random", "home"):
        with _pair() as servers:
            urls = [server.url for server in servers]
            place = _anywhere(urls, luck) if name == "random" else _at_home(urls)
            figures[name] = await measure(options, place)
    return figures


async def through_nexus(options: argparse.Namespace) -> dict[str, Any]:
    """Through a gateway over both servers."""
    figures = {}
    for name, strategy in (("random", "random"), ("smart", "smart"), ("session", "smart")):
        with _pair() as servers:
            entries = [
                backend_entry(f"llama-{n}", server.url, type="llamacpp")
                for n, server in enumerate(servers)
            ]
            async with running_gateway(entries, routing={"strategy": strategy}) as gateway:
                figures[name] = await measure(options, _at(gateway.url, named=name == "session"))
    return figures


def _anywhere(urls: Sequence[str], luck: random.Random) -> Place:
    return lambda _number: (luck.choice(urls), {})


def _at_home(urls: Sequence[str]) -> Place:
    return lambda number: (urls[number % len(urls)], {})


def _at(url: str, *, named: bool) -> Place:
    return lambda number: (url, {"x-nexus-session": f"s{number}"} if named else {})


@contextmanager
def _pair() -> Iterator[list[LlamaServer]]:
    """Two servers, warm: each has answered once."""
    with ExitStack() as stack:
        servers = []
        for _ in range(2):
            servers.append(start_llama(alias=MODEL, parallel=SLOTS, context=CONTEXT))
            stack.callback(servers[-1].stop)
        for server in servers:
            body = {"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "."}]}
            httpx.post(
                f"{server.url}/v1/chat/completions", json=body, timeout=60.0, trust_env=False
            ).raise_for_status()
        yield servers


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.affinity")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--conversations", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = asyncio.run((direct if options.direct else through_nexus)(options))
    if options.json:
        print(json.dumps(figures, indent=2))  # noqa: T201 the point of this program
        return
    for name, found in figures.items():
        print(f"{name:<8} {found}")  # noqa: T201 the point of this program


if __name__ == "__main__":
    main()
