"""Which backend holds the prefix of a conversation, so that its next turn need not be read anew.

Local servers keep what they have read of a prompt and go on from there: on a small llama.cpp a
prompt that was seen takes 14 ms instead of 312 (tests/bench/affinity.py measures it). A turn is
recognised by, in this order:

1. `X-Nexus-Session`, for whoever wants to say it;
2. the session headers that coding agents send: Claude Code, Codex, opencode. One session may hold
   several conversations (titles, sub-agents); they go to one backend all the same;
3. its leading messages. Turn N begins with the messages of turn N−1, byte for byte, since one
   client wrote both. So what is noted of a request is a key of all its messages, and what is
   looked up are the keys of its beginnings, longest first.

A key is made of the number of messages, their length in bytes, and the ends of the first and the
last of them: hashing 200 KB would take longer than routing does. Two conversations that differ only
in between, and nowhere in length, share a key; then one of them is sent to a backend that has not
read it, and that is all. A client that changes a message afterwards (moves a cache mark, say) is
known by its first two messages still.

Keys are salted at random in each process and never leave it, so that no prompt can be told from
them. Only local backends are noted. A cloud provider has a cache too, but a conversation that once
went there, because all else was busy, must not stay there at a price.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Raw

from nexus_proxy.registry import Backend

MOST_ENTRIES = 4096
LONGEST_SECONDS = 600.0
"""After this long, other prompts have pushed the prefix out. Ollama unloads an idle model after
five minutes, and a llama.cpp slot is taken by the next request that needs one."""
BOUNDARIES = 8
"""Beginnings of a request that are looked up: a turn adds the last answer and a new message, and
results of tools. One that adds more is known by its first two messages."""
END_BYTES = 64
LEAST_BYTES = 1024
"""That a shorter request was made before counts for nothing: to read it anew takes no time, and all
who say "hello" would go to one backend. What continues it does find it."""

SESSION_HEADERS = (
    b"x-nexus-session",
    b"x-claude-code-session-id",
    b"session-id",  # Codex
    b"x-session-affinity",  # opencode
    b"x-session-id",
)
"""Lower case; the first that is there counts."""
LONGEST_SESSION = 512

Slice = Raw | bytes
"""The bytes of one message that its client repeats in the next turn."""


class Keys(NamedTuple):
    """`sought`, the best first, lead to who holds the prefix; `noted` are kept for the next turn.
    Both are empty where there is nothing to know a conversation by."""

    sought: tuple[int, ...]
    noted: tuple[int, ...]


class Home(NamedTuple):
    """Who holds a prefix: the name of a backend, and the id under which it lists the model."""

    backend: str
    model: str


NO_KEYS = Keys((), ())


class _Talk:
    """One conversation. Several keys lead to it: of its turns, and of its branches."""

    __slots__ = ("backend", "expires", "home")

    def __init__(self, backend: Backend, model: str, expires: float) -> None:
        self.backend, self.expires = backend, expires
        self.home = Home(backend.name, model)


class Affinity:
    """The table. Bounded; the entry that was used longest ago makes room.

    Counts for each backend how many conversations it holds (`Backend.conversations`), so that new
    ones can be spread: three of them on a server of two slots push each other out.
    """

    __slots__ = ("_clock", "_keys", "_salt", "_size", "_talks")

    def __init__(
        self, *, size: int = MOST_ENTRIES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock, self._size = clock, size
        self._salt = secrets.randbits(64)
        self._keys: dict[int, _Talk] = {}
        self._talks: dict[_Talk, None] = {}
        """The one that was used longest ago comes first."""

    def __len__(self) -> int:
        return len(self._keys)

    def session_keys(self, session: bytes, model: str) -> Keys:
        """Keys by the value of a session header; `model` is the name that was asked for."""
        key = (hash((self._salt, model, session[:LONGEST_SESSION])),)
        return Keys(key, key)

    def message_keys(self, messages: Sequence[Slice], model: str) -> Keys:
        """Keys by the messages, one slice each. No slice may be altered by us before."""
        count = len(messages)
        if not count:
            return NO_KEYS
        root = hash((self._salt, model, _ends(messages[0])))
        lengths = list(map(len, messages))
        total = left = sum(lengths)
        sought = []
        for number in range(count, max(0, count - BOUNDARIES), -1):
            sought.append(_key(root, number, left, messages))
            left -= lengths[number - 1]
        if count > BOUNDARIES:
            sought.append(_key(root, 2, lengths[0] + lengths[1], messages))
            sought.append(_key(root, 1, lengths[0], messages))
        noted = (sought[-2], sought[0]) if count > 2 else (sought[0],)
        return Keys(tuple(sought if total >= LEAST_BYTES else sought[1:]), noted)

    def preferred(self, keys: Keys) -> Home | None:
        """Who holds the longest known prefix; None: nobody that we know of."""
        talk = self._find(keys.sought)
        return None if talk is None or talk.expires <= self._clock() else talk.home

    def note(self, keys: Keys, backend: Backend, model: str) -> None:
        """A request was answered. `model` is the id by which the backend lists it."""
        if not keys.noted or backend.traits.is_cloud:
            return
        now = self._clock()
        before = self._find(keys.sought) or self._find(keys.noted)
        if before is not None and before in self._talks:
            self._end(before)
        talk = _Talk(backend, model, now + LONGEST_SECONDS)
        self._talks[talk] = None
        backend.conversations += 1
        known = self._keys
        for key in keys.noted:
            known.pop(key, None)
            known[key] = talk
        while len(known) > self._size:
            del known[next(iter(known))]
        while (oldest := next(iter(self._talks))).expires <= now or len(self._talks) > self._size:
            self._end(oldest)

    def _find(self, sought: Sequence[int]) -> _Talk | None:
        known = self._keys
        for key in sought:
            if (talk := known.get(key)) is not None:
                return talk
        return None

    def _end(self, talk: _Talk) -> None:
        """It is over, or went on elsewhere."""
        del self._talks[talk]
        talk.backend.conversations -= 1


def session_of(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The session that the headers of a request name (names in lower case); None: none."""
    for name in SESSION_HEADERS:
        if value := headers.get(name):
            return value
    return None


def _key(root: int, number: int, length: int, messages: Sequence[Slice]) -> int:
    """The key of the first `number` messages, `length` bytes in all."""
    if number == 1:
        return hash((root, 1, length))
    return hash((root, number, length, _ends(messages[number - 1])))


def _ends(message: Slice) -> bytes:
    """Both ends of a message; the whole of a short one."""
    view = memoryview(message)
    if len(view) <= 2 * END_BYTES:
        return bytes(view)
    return bytes(view[:END_BYTES]) + bytes(view[-END_BYTES:])
