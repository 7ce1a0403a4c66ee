"""How many tokens a text has, before or without the backend's own count.

The backend's usage always comes first; this is for what it did not count: what to reserve for a
request, and what a stream said before it was cut. Two ways, neither of which ever downloads:

- exact, for OpenAI's `o200k_base` models, with the extra `tokens` (toktok-rs, whose vocabulary is
  inside the package; its counts equal tiktoken's). There is no public vocabulary of Claude, Gemini
  or the GPT-6 family.
- an estimate, by a weight for each byte. The weights were fitted (least squares of the relative
  error) to what the tokenizers count in one half of 6.7 MB of text: documentation, code, JSON,
  manual pages and program messages in sixteen languages. Mean error against `o200k_base` in the
  other half, per text of 2 to 8 KB: English 4 to 6 %, Python 9 %, C and JavaScript 7 %, JSON 6 %,
  German 9 %, Russian 9 %, Japanese 7 %, Chinese 13 %; four texts of a hundred are off by more than
  a fifth. The weights for `cl100k_base`, which makes twice as many tokens of Hindi, stand in for
  all vocabularies that are not known: of Claude, Gemini and local models the error was not
  measured. (Four bytes to a token, the usual guess, are 21 % short for JSON and 53 % over for
  Russian.)

Nothing here takes more than about 200 µs, whatever it is given: of a long text, evenly spread
pieces are counted, and the rest is taken to be like them.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator
from enum import Enum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from nexus_proxy.dialects.openai import ABSENT

log = logging.getLogger(__name__)

EXACT_BYTES = 16_384
"""Most that the tokenizer is given: 0.1 ms."""
WEIGHED_BYTES = 32_768
_PIECES = 16
DECODED_BYTES = 32_768
"""Largest body of which the texts are taken out; larger ones are weighed as they are."""
IMAGE_TOKENS = 1_600
"""An image as the dearest common reading has it (Anthropic: width x height / 750, at most about
1,600; OpenAI's high detail: 765 to 1,105). Its size is not looked at."""
IMAGE_BYTES = 100_000
"""Of a small picture in base64; what is no text in a large body is taken for such."""
MESSAGE_TOKENS = 4
"""Role and separators of one message; 3 to 4 in OpenAI's formats."""
BYTES_PER_TOKEN = 3.5
"""Of bodies too large to look into, rather low: code has 3.5 to 4.1, JSON 3.2, Chinese 3.7."""

_O200K = ("gpt-4o*", "chatgpt-4o*", "gpt-4.1*", "gpt-4.5*", "gpt-5*", "o1*", "o3*", "o4*")
_GPT_OSS = ("gpt-oss*", "*/gpt-oss*")
"""Its vocabulary has other special tokens, and the same of text."""
_ENCODING = "o200k_base"


class CountedBy(str, Enum):
    """How a count came about."""

    TOKENIZER = "tokenizer"
    ESTIMATE = "estimate"


class Count(NamedTuple):
    """Tokens, and who counted."""

    tokens: int
    source: CountedBy

    @property
    def at_most(self) -> int:
        """On the high side: what to reserve. A quarter is added to an estimate; of the texts that
        it was tried on, two in a hundred have more."""
        return self.tokens if self.source is CountedBy.TOKENIZER else -(-self.tokens * 5 // 4)


class TokenCounter:
    """Counts with the tokenizer once it is loaded, and estimates until then or without it."""

    def __init__(self) -> None:
        self._exact: Callable[[list[str]], int] | None = None

    def load(self) -> bool:
        """Load the tokenizer; False where the extra `tokens` is not installed.

        Takes 0.4 s and 64 MB, and holds the interpreter's lock for most of that: call it before
        the gateway serves.
        """
        try:
            import toktok
        except ImportError:
            return False

        def exact(texts: list[str]) -> int:
            return sum(toktok.batch_count(texts, _ENCODING, threads=1))

        exact([""])
        self._exact = exact
        return True

    def count(self, text: bytes, model: str) -> Count:
        """Tokens of a text in UTF-8. `model` is the id that the backend serves it by."""
        known = _is_o200k(model)
        if known and self._exact is not None:
            pieces = _spread(text, EXACT_BYTES)
            tokens = self._exact([str(piece, "utf-8", "replace") for piece in pieces])
            if len(pieces) == 1:
                return Count(tokens, CountedBy.TOKENIZER)
        else:
            pieces = _spread(text, WEIGHED_BYTES)
            tokens = _weigh(pieces, _WEIGHTS_O200K if known else _WEIGHTS_CL100K)
        seen = sum(map(len, pieces)) or 1
        return Count(-(-tokens * len(text) // seen), CountedBy.ESTIMATE)

    def count_body(self, body: bytes, model: str, prompt_bytes: int) -> Count:
        """Tokens of the prompt of a request in any dialect, with its tools, images and separators.

        `prompt_bytes` is the length of its texts as `RequestPeek` has it. Always labelled an
        estimate: how a provider lays out tools and images is not public.
        """
        if len(body) > DECODED_BYTES:
            return Count(self._count_large(body, model, prompt_bytes), CountedBy.ESTIMATE)
        try:
            decoded = _decode_body(body)
            texts = list(_texts_of(decoded))
        except (ValueError, RecursionError):
            return Count(self.count(body, model).tokens, CountedBy.ESTIMATE)
        images = sum(text is None for text in texts)
        said = self.count(b"\n".join(text for text in texts if text), model)
        framing = MESSAGE_TOKENS * (len(decoded.messages or ()) + 1)
        return Count(said.tokens + images * IMAGE_TOKENS + framing, CountedBy.ESTIMATE)

    def _count_large(self, body: bytes, model: str, prompt_bytes: int) -> int:
        """Text in JSON weighs about what the text does, but for characters written as \\uXXXX."""
        other = len(body) - prompt_bytes
        if prompt_bytes < other * 3:
            images = 1 + other // IMAGE_BYTES
            return int(prompt_bytes / BYTES_PER_TOKEN) + images * IMAGE_TOKENS
        pieces = [bytes(piece) for piece in _spread(body, WEIGHED_BYTES)]
        looked_at = sum(map(len, pieces))
        escaped = sum(piece.count(b"\\u") for piece in pieces) * 6
        if escaped * 20 < looked_at:
            return self.count(body, model).tokens
        share = escaped / looked_at
        return int(prompt_bytes * (share / 6 + (1 - share) / BYTES_PER_TOKEN))


@lru_cache(maxsize=1024)
def _is_o200k(model: str) -> bool:
    return any(fnmatchcase(model, glob) for glob in (*_O200K, *_GPT_OSS))


def _spread(text: bytes, most: int) -> list[memoryview]:
    """The text, or evenly spread pieces of it that have `most` bytes together."""
    view = memoryview(text)
    if len(text) <= most:
        return [view]
    size, step = most // _PIECES, len(text) / _PIECES
    return [view[(at := int(step * number)) : at + size] for number in range(_PIECES)]


_BLOCK = 256
"""Bytes whose weights, of 255 at most, add up to less than Adler-32's modulus of 65,521."""


def _weigh(pieces: list[memoryview], weights: bytes) -> int:
    """The sum of the weights of all bytes, in tokens, rounded up.

    The low half of Adler-32 is one more than the sum of the bytes: that adds up fifteen times as
    fast as `sum` does.
    """
    total = 0
    for piece in pieces:
        weighed = memoryview(bytes(piece).translate(weights))
        for start in range(0, len(weighed), _BLOCK):
            total += (zlib.adler32(weighed[start : start + _BLOCK]) & 0xFFFF) - 1
    return -(-total // 100)


def _weights(**classes: int) -> bytes:
    """A table of weights in hundredths of a token. Characters beyond ASCII weigh by their first
    byte, which tells the script."""
    table = bytearray(256)
    for byte in range(128):
        char = chr(byte)
        name = (
            "lower"
            if char.islower()
            else "upper"
            if char.isupper()
            else "digit"
            if char.isdigit()
            else "space"
            if char == " "
            else "line"
            if char in "\t\r\n"
            else "mark"
        )
        table[byte] = classes[name]
    for name, first, last in (
        ("latin", 0xC2, 0xCB),
        ("greek", 0xCC, 0xCF),
        ("cyrillic", 0xD0, 0xD3),
        ("hebrew_arabic", 0xD4, 0xDF),
        ("indic_thai", 0xE0, 0xE0),
        ("vietnamese", 0xE1, 0xE1),
        ("signs", 0xE2, 0xE2),
        ("cjk", 0xE3, 0xE9),
        ("hangul", 0xEA, 0xEF),
        ("emoji", 0xF0, 0xF4),
    ):
        table[first : last + 1] = bytes([classes[name]]) * (last + 1 - first)
    return bytes(table)


_WEIGHTS_O200K = _weights(
    lower=21,
    upper=23,
    digit=110,
    space=11,
    line=63,
    mark=50,
    latin=141,
    greek=40,
    cyrillic=28,
    hebrew_arabic=40,
    indic_thai=40,
    vietnamese=23,
    signs=106,
    cjk=80,
    hangul=78,
    emoji=255,
)
_WEIGHTS_CL100K = _weights(
    lower=22,
    upper=23,
    digit=109,
    space=10,
    line=59,
    mark=49,
    latin=232,
    greek=104,
    cyrillic=44,
    hebrew_arabic=90,
    indic_thai=109,
    vietnamese=102,
    signs=95,
    cjk=110,
    hangul=120,
    emoji=255,
)


class _Message(Struct):
    content: Raw = ABSENT
    tool_calls: Raw = ABSENT


class _Body(Struct):
    messages: list[_Message] | None = None
    system: Raw = ABSENT
    instructions: Raw = ABSENT
    input: Raw = ABSENT
    prompt: Raw = ABSENT
    tools: Raw = ABSENT
    response_format: Raw = ABSENT


class _Part(Struct):
    type: str | None = None
    text: Raw = ABSENT
    content: Raw = ABSENT
    input: Raw = ABSENT
    arguments: Raw = ABSENT
    output: Raw = ABSENT


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_part = msgspec.json.Decoder(_Part).decode


def _texts_of(body: _Body) -> Iterator[bytes | None]:
    """Everything in a body that is read as text, in any dialect; None for each image."""
    for message in body.messages or ():
        yield from _texts(message.content)
        if message.tool_calls is not ABSENT:
            yield bytes(message.tool_calls)
    for value in (body.system, body.instructions, body.input, body.prompt):
        if value is not ABSENT:
            yield from _texts(value)
    yield bytes(body.tools)
    yield bytes(body.response_format)


def _texts(value: Raw) -> Iterator[bytes | None]:
    """Texts of a string, or of a list of strings and parts. Raises `ValueError` for nonsense."""
    head = bytes(memoryview(value)[:1])
    if head == b'"':
        yield _decode_text(value).encode("utf-8", "replace")
    elif head == b"[":
        for item in _decode_list(value):
            yield from _texts(item)
    elif head == b"{":
        part = _decode_part(value)
        if "image" in (part.type or ""):
            yield None
        for field in (part.text, part.content, part.output):
            yield from _texts(field)
        yield bytes(part.input)
        yield bytes(part.arguments)
    else:
        yield bytes(value)
