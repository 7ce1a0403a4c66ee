"""Watching a stream go by: whole events in, the same bytes out, and what they said.

Nothing is re-encoded. Three things may change: the extra usage chunk that we asked for and the
client did not is left out; the name of the model is put back to the one that the client asked
for; and what the backend sent as comments before the first token is dropped, since nothing has
been promised to the client yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from nexus_proxy.dialects.openai_stream import TOKEN, ChunkFacts, Usage, read_chunk
from nexus_proxy.dialects.sse import EventSplitter, payload
from nexus_proxy.dialects.token_shape import TokenShape

_MODEL = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
_decode_text = msgspec.json.Decoder(str).decode


class ModelName:
    """Puts the asked name back where the backend wrote the served one.

    A quoted `"model":"…"` cannot stand inside a JSON string without backslashes before its
    quotes, so a match is always a key of the answer itself.
    """

    def __init__(self, served: str, asked: str) -> None:
        self._served = served
        self._asked = msgspec.json.encode(asked)

    def restore(self, data: bytes) -> bytes:
        """`data` with the first occurrence replaced, however its characters are escaped."""
        for match in _MODEL.finditer(data):
            if _text(match[1]) == self._served:
                return data[: match.start(1)] + self._asked + data[match.end(1) :]
        return data


def _text(quoted: bytes) -> str | None:
    try:
        return _decode_text(quoted)
    except ValueError:
        return None


class StreamTap:
    """Follows one stream, in which `choices` answers are due; `read` says what an event says.

    Attributes:
        seen_token: text, reasoning or a tool call has come.
        token_events: how many events carried some.
        finish_reason: the last one that came.
        usage: token counts, if the backend sent them.
        done: `[DONE]` came.
        error: bytes of an `error` value that the backend sent in the stream.
        has_beat: an event proved that the backend is at work; its reader takes it back.
    """

    def __init__(
        self,
        *,
        choices: int,
        strip_usage: bool,
        rename: ModelName | None,
        read: Callable[[bytes], ChunkFacts] = read_chunk,
    ) -> None:
        self._read = read
        self._splitter = EventSplitter()
        # What makes two events say the same is known of chat's only, and of what passes unchanged.
        self._shape = TokenShape() if read is read_chunk and rename is None else None
        self._choices = choices
        self._finished: set[int] = set()
        self._strip_usage = strip_usage
        self._rename = rename
        self.seen_token = False
        self.token_events = 0
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.done = self.has_beat = False
        self.error: bytes | None = None

    def is_token(self, chunk: bytes) -> bool:
        """Whether this is one whole event that holds a token, like the one before. It has been
        counted then, and is passed on as it is; if not, it is for `feed`."""
        shape = self._shape
        if shape is None or self._splitter.pending or not shape.fits(chunk):
            return False
        self.token_events += 1
        return True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Whole events to pass on, in order."""
        events = [event for event in self._splitter.feed(chunk) if self._note(event)]
        return events if self._rename is None else list(map(self._rename.restore, events))

    @property
    def pending(self) -> int:
        """Bytes of an event that has not ended."""
        return self._splitter.pending

    @property
    def complete(self) -> bool:
        """Whether the stream said that it is whole: each choice has ended, or `[DONE]` came."""
        return self.done or len(self._finished) >= self._choices

    def _note(self, event: bytes) -> bool:
        facts = self._read(event)
        if facts is TOKEN:
            self.seen_token = True
            self.token_events += 1
            if self._shape is not None:
                self._shape.learn(event)
            return True
        if facts.has_token:
            self.seen_token = True
            self.token_events += 1
        elif not self.seen_token and payload(event) is None:
            return False
        self.finish_reason = facts.finish_reason or self.finish_reason
        self._finished.update(facts.finished)
        self.usage = facts.usage or self.usage
        self.done = self.done or facts.done
        self.error = facts.error or self.error
        self.has_beat = facts.beat or self.has_beat
        return not (facts.is_usage_only and self._strip_usage)
