"""Reading a stream as a client does, and what it amounts to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.gateway import RunningGateway


@dataclass
class Streamed:
    """One stream as the client saw it."""

    status: int
    headers: dict[str, str]
    raw: bytes
    chunks: list[dict[str, Any]] = field(default_factory=list)
    dones: int = 0

    @property
    def text(self) -> str:
        """All content of the first choice."""
        deltas = [c["choices"][0].get("delta", {}) for c in self.chunks if c.get("choices")]
        return "".join(d.get("content") or "" for d in deltas)

    @property
    def finish(self) -> str | None:
        """The last finish reason."""
        reasons = [c["choices"][0].get("finish_reason") for c in self.chunks if c.get("choices")]
        return next((r for r in reversed(reasons) if r), None)

    @property
    def error(self) -> dict[str, Any] | None:
        """The error that ended it."""
        return next((c["error"] for c in self.chunks if c.get("error")), None)


async def stream_chat(gateway: RunningGateway, **body: Any) -> Streamed:
    """Ask for a stream and read it to its end. Each event must parse."""
    request = {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
        **body,
    }
    async with gateway.client.stream("POST", "/v1/chat/completions", json=request) as response:
        raw = b"".join([piece async for piece in response.aiter_raw()])
    seen = Streamed(response.status_code, dict(response.headers), raw)
    if "event-stream" not in response.headers["content-type"]:
        return seen
    assert raw.endswith((b"\n\n", b"\r\n\r\n")), "the stream ends inside an event"
    for event in raw.replace(b"\r\n", b"\n").split(b"\n\n"):
        for line in event.split(b"\n"):
            if line == b"data: [DONE]":
                seen.dones += 1
            elif line.startswith(b"data:"):
                seen.chunks.append(json.loads(line[5:]))
    return seen
