"""A chat with the gateway as any tool has it: over HTTP, streamed, by its OpenAI API.

`talk` writes into an `Answer` whenever something comes; whoever shows it looks when it is time.
Nothing of what is said is kept anywhere else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nexus_proxy.cli.client import certificates, credentials
from nexus_proxy.dialects.sse import DONE, EventSplitter, payload
from nexus_proxy.errors import CommandError

if TYPE_CHECKING:
    import httpx

COMPLETIONS = "/v1/chat/completions"
MOST_CHARACTERS = 200_000
"""Kept of one answer, reasoning included; what goes on beyond is stopped."""

_CONNECT_SECONDS = 10.0


class Message(NamedTuple):
    """One message of a conversation; `role` is `system`, `user` or `assistant`."""

    role: str
    text: str


class Piece(NamedTuple):
    """A part of an answer, as it came."""

    is_reasoning: bool
    text: str


class Answer:
    """One answer, from the moment it is asked for.

    Attributes:
        request_id, backend, reason, model: as the response's headers say.
        estimated_usd: what the gateway put aside for it, where it has a price.
        prompt_tokens, completion_tokens: as the usage says; None where it said nothing.
        finish: why it ended, in the backend's word.
    """

    def __init__(self) -> None:
        self.request_id: str | None = None
        self.backend: str | None = None
        self.reason: str | None = None
        self.model: str | None = None
        self.estimated_usd: str | None = None
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.finish: str | None = None
        self.asked_at = time.monotonic()
        self._first_at: float | None = None
        self._last_at: float | None = None
        self._length = 0
        self._said: list[str] = []
        self._fresh: list[Piece] = []

    @property
    def text(self) -> str:
        """All of it so far, without the reasoning."""
        return "".join(self._said)

    @property
    def first_token_ms(self) -> float | None:
        """From the question to the first piece; None before it."""
        return None if self._first_at is None else (self._first_at - self.asked_at) * 1000

    @property
    def tokens_per_second(self) -> float | None:
        """After the first token; None where the usage or the time is too small to tell."""
        if self._first_at is None or self._last_at is None or (self.completion_tokens or 0) < 2:
            return None
        seconds = self._last_at - self._first_at
        return ((self.completion_tokens or 0) - 1) / seconds if seconds > 0 else None

    def take(self) -> list[Piece]:
        """What came since the last call, neighbours of one kind joined."""
        fresh, self._fresh = self._fresh, []
        return [
            Piece(is_reasoning, "".join(piece.text for piece in run))
            for is_reasoning, run in groupby(fresh, key=itemgetter(0))
        ]

    def add(self, piece: Piece) -> None:
        """Something came. Raises `CommandError` when it is more than is kept."""
        if not piece.text:
            return
        self._last_at = time.monotonic()
        self._first_at = self._first_at or self._last_at
        self._length += len(piece.text)
        self._fresh.append(piece)
        if not piece.is_reasoning:
            self._said.append(piece.text)
        if self._length > MOST_CHARACTERS:
            raise CommandError(
                f"Stopped after {MOST_CHARACTERS:,} characters, which is all that is kept here "
                "of one answer."
            )


async def talk(
    client: httpx.AsyncClient, model: str, messages: Sequence[Message], answer: Answer
) -> None:
    """Ask, and write into `answer` until it ends. Cancelling ends the request upstream.

    Raises `CommandError` in the gateway's own words where it refuses or the answer breaks off.
    """
    import httpx

    body = {
        "model": model,
        "messages": [{"role": one.role, "content": one.text} for one in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    # how long an answer may take is the gateway's to say
    patience = httpx.Timeout(None, connect=_CONNECT_SECONDS)
    try:
        async with client.stream("POST", COMPLETIONS, json=body, timeout=patience) as response:
            _read_headers(response, answer)
            if response.is_error:
                raise CommandError(_refusal(await response.aread(), response.status_code))
            await _read_stream(response, answer)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise CommandError(f"The connection to the gateway broke: {reason}.") from error


async def talk_at(
    url: str, key: str | None, model: str, messages: Sequence[Message], answer: Answer
) -> None:
    """`talk` to the gateway at `url`, over a connection for this one question; `key` is an API
    key of it."""
    import httpx

    async with httpx.AsyncClient(
        base_url=url, headers=credentials(key), verify=certificates(url), trust_env=False
    ) as client:
        await talk(client, model, messages, answer)


def _read_headers(response: httpx.Response, answer: Answer) -> None:
    headers = response.headers
    answer.request_id = headers.get("x-request-id")
    answer.backend = headers.get("x-nexus-backend")
    answer.reason = headers.get("x-nexus-route-reason")
    answer.model = headers.get("x-nexus-model")
    answer.estimated_usd = headers.get("x-nexus-cost-estimated")


async def _read_stream(response: httpx.Response, answer: Answer) -> None:
    splitter = EventSplitter()
    async for chunk in response.aiter_bytes():
        for event in splitter.feed(chunk):
            data = payload(event)
            if data and data != DONE:  # after which the body still has to end
                _read_event(data, answer)
    if answer.finish is None:
        raise CommandError("The stream ended before the answer did.")


def _read_event(data: bytes, answer: Answer) -> None:
    try:
        event = msgspec.json.decode(data)
    except msgspec.DecodeError:
        raise CommandError("The stream had something in it that is no JSON.") from None
    if _at(event, "error") is not None:
        raise CommandError(_sentence(event) or "The answer broke off with an error of no words.")
    choice = _first(_at(event, "choices"))
    delta = _at(choice, "delta")
    reasoning = _at(delta, "reasoning_content") or _at(delta, "reasoning")
    answer.add(Piece(True, _words(reasoning)))
    answer.add(Piece(False, _words(_at(delta, "content")) or _words(_at(delta, "refusal"))))
    answer.finish = _words(_at(choice, "finish_reason")) or answer.finish
    usage = _at(event, "usage")
    answer.prompt_tokens = _number(_at(usage, "prompt_tokens"), answer.prompt_tokens)
    answer.completion_tokens = _number(_at(usage, "completion_tokens"), answer.completion_tokens)


def _refusal(body: bytes, status: int) -> str:
    try:
        said = _sentence(msgspec.json.decode(body))
    except msgspec.DecodeError:
        said = ""
    return said or f"The gateway answered with status {status} and gave no reason."


def _sentence(event: Any) -> str:
    error = _at(event, "error")
    return _words(_at(error, "message")) or _words(error)


def _at(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _words(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 1 << 53 else otherwise
