"""Google's own Gemini API: chat is put into it, answers come back.

Google offers an OpenAI-compatible API too, which loses more: it tells neither what was thought nor
how much of the prompt was cached, leaves thoughts out of the counted answer, numbers parallel calls
by no index, says `stop` where tools are called, and answers errors in a list. Both insist on the
signatures of thoughts in a tool loop. So chat goes to the native API; embeddings, which lose
nothing, go to the other. What becomes of a request is told in `gemini_request`.

Of an answer: thoughts are `reasoning_content`. A call's signature stands where Google's compatible
API has it, at `extra_content.google.thought_signature`, and is remembered by the call's id for
clients that lose it. Text in several parts is joined. Pictures and code that Google ran have no
place in chat and are left out. A blocked prompt is a refusal, with `content_filter`. A call that
the model got wrong is an error.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import msgspec

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.gemini_request import say
from nexus_proxy.dialects.gemini_signatures import Signatures
from nexus_proxy.dialects.gemini_stream import Candidates, GeminiEar, failed, read, usage_of
from nexus_proxy.dialects.openai import as_object, error_sentence, overflow_body
from nexus_proxy.dialects.tongue import Failed, Named, Said, usage_fields
from nexus_proxy.state import ModelInfo

_TOO_LONG = "exceeds the maximum number of tokens allowed"
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")


class Gemini:
    """See `Tongue`. Remembers signatures, and nothing else."""

    headers = b""
    key_header: str | None = "x-goog-api-key"

    def __init__(self) -> None:
        self._signatures = Signatures()

    def path(self, model: str, *, streams: bool) -> str:
        """See `Tongue.path`."""
        verb = "streamGenerateContent?alt=sse" if streams else "generateContent"
        return f"/v1beta/models/{quote(model, safe='')}:{verb}"

    def say(self, chat: Json, model: ModelInfo, room: int | None) -> Said:
        """See `Tongue.say`."""
        return say(chat, model, self._signatures)

    def whole(self, body: bytes, named: Named) -> bytes:
        """See `Tongue.whole`."""
        answer = read(body)
        if answer.candidates is None and answer.promptFeedback is None:
            raise ValueError("no answer")
        candidates = Candidates(self._signatures)
        chunks = candidates.read(answer)
        if candidates.problem:
            raise ValueError(candidates.problem)
        choices: dict[int, Json] = {}
        for index, delta, finish in chunks:
            choice = choices.setdefault(index, _choice(index))
            _merge(choice["message"], delta)
            choice["finish_reason"] = finish or choice["finish_reason"]
        usage = usage_of(answer.usageMetadata)
        return msgspec.json.encode(
            {
                "id": f"chatcmpl-{answer.responseId}",
                "object": "chat.completion",
                "created": named.created,
                "model": named.model,
                "choices": [choices[index] for index in sorted(choices)],
                **usage_fields(usage),
            }
        )

    def ear(self, named: Named) -> GeminiEar:
        """See `Tongue.ear`."""
        return GeminiEar(named, self._signatures)

    def failure(self, status: int, body: bytes) -> Failed:
        """See `Tongue.failure`. How long to wait stands in Google's bodies, not in its headers."""
        said = error_sentence(body)
        if _TOO_LONG in said:
            return Failed(status=status, body=overflow_body(said))
        error = (as_object(body) or {}).get("error")
        error = error if isinstance(error, dict) else {}
        return Failed(
            status=status,
            body=msgspec.json.encode({"error": failed({**error, "message": said})}),
            retry_after=_wait(error.get("details")),
        )


def _wait(details: Any) -> float | None:
    for detail in details if isinstance(details, list) else []:
        told = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(told, str) and (seconds := _SECONDS.fullmatch(told)):
            return float(seconds[1])
    return None


def _choice(index: int) -> Json:
    message = {"role": "assistant", "content": None, "refusal": None}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": "stop"}


def _merge(message: Json, delta: Json) -> None:
    for key, value in delta.items():
        if key == "tool_calls":
            calls = [{k: v for k, v in call.items() if k != "index"} for call in value]
            message[key] = [*message.get(key, ()), *calls]
        elif key != "role":
            message[key] = (message.get(key) or "") + value
