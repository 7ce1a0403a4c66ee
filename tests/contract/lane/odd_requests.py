"""Raw requests for hypothesis: mostly right, each wrong in one or two of the ways that matter."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from tests.contract.lane.client import CHAT, chat_body, get, post
from tests.contract.lane.strict import requests_in


@dataclass(frozen=True)
class Draft:
    """A request before it is put into bytes. `lines` are header lines without their ends."""

    method: bytes = b"POST"
    target: bytes = CHAT.encode()
    version: bytes = b"HTTP/1.1"
    lines: tuple[bytes, ...] = ()
    body: bytes = b""
    spaces: tuple[bytes, bytes] = (b" ", b" ")
    ends: dict[int, bytes] = field(default_factory=dict)
    """Line ends that are not CRLF, by line number; -1 is the blank line's."""
    before: bytes = b""

    def raw(self) -> bytes:
        first, second = self.spaces
        lines = [self.method + first + self.target + second + self.version, *self.lines]
        ended = [line + self.ends.get(number, b"\r\n") for number, line in enumerate(lines)]
        return self.before + b"".join(ended) + self.ends.get(-1, b"\r\n") + self.body

    def with_line(self, *lines: bytes) -> Draft:
        return replace(self, lines=(*lines, *self.lines))

    def without(self, name: bytes) -> Draft:
        kept = tuple(line for line in self.lines if not line.lower().startswith(name + b":"))
        return replace(self, lines=kept)


def hot(text: str, *, stream: bool = False) -> Draft:
    """A right hot request that asks `text`."""
    body = chat_body(text, stream=stream)
    length = b"content-length: %d" % len(body)
    lines = (b"host: localhost", b"content-type: application/json", length)
    return Draft(lines=lines, body=body)


METHODS = (b"GET", b"PUT", b"DELETE", b"PATCH", b"post", b"P%ST", b"POST\x00", b"")
"""No OPTIONS, nor HEAD: a preflight is answered before its body has come, and whether Hypercorn
then closes is a matter of time; an answer to HEAD cannot be told from one that is cut off."""
TARGETS = (
    b"/v1/completions",
    b"/v1/embeddings",
    b"//v1//chat/completions",
    b"/v1/v1/chat/completions",
    b"/chat/completions/",
    b"/v1/chat%2Fcompletions",
    b"/v1/chat/completions?a=b&c=%00",
    b"/v1/chat/completions#part",
    b"/v1/chat/completions%3Fx",
    b"/v1/chat/completions/..",
    b"/v1\\chat\\completions",
    b"/v1/chat/completions\xc3\xa9",
    b"/v1/ch\tat/completions",
    b"/v1/models",
    b"/nowhere",
    b"http://localhost/v1/chat/completions",
    b"http://example.com/v1/chat/completions",
    b"*",
    b"v1/chat/completions",
    b"",
)
VERSIONS = (
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HTTP/1.2",
    b"HTTP/0.9",
    b"http/1.1",
    b"RTSP/1.1",
    b"HTTP/1.1 ",
    b"HTTP/1.10",
    b"HTTP/11",
    b"",
)
LENGTHS = (
    b"+%d",
    b"-%d",
    b" %d ",
    b"000%d",
    b"000000000000000000%d",
    b"0x%x",
    b"%d, %d",
    b"%d %d",
    b"%d\x0b",
    b"%d;",
    b"%d_0",
    b"99999999999%d",
    b"999999999999999999999%d",
    b"%d\t",
    b"",
)
LINES = (
    b"transfer-encoding: chunked",
    b"Transfer-Encoding : chunked",
    b"transfer-encoding: identity",
    b"transfer-encoding: gzip, chunked",
    b"transfer-encoding:\x0bchunked",
    b"transfer_encoding: chunked",
    b"host: localhost",
    b"Host: example.com",
    b"host:",
    b"expect: 100-continue",
    b"expect: something",
    b"connection: close",
    b"Connection: Keep-Alive",
    b"connection: close, x",
    b"connection: upgrade\r\nupgrade: websocket",
    b"upgrade: h2c",
    b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk",
    b"x-folded: a\r\n b",
    b"x-folded: a\r\n\tb",
    b" x-indented: a",
    b"x-spaced : a",
    b"x-empty:",
    b"x-blanks:  a  ",
    b"x-nul: a\x00b",
    b"x-cr: a\rb",
    b"x-cr: a\r",
    b"x-control: a\x01b",
    b"x-tab: a\tb",
    b"x-high: a\xff\x85",
    b"x-high\xff: a",
    b"x(y): a",
    b"no colon",
    b": no name",
    b"content-type: text/plain",
    b"content-type: application/x-www-form-urlencoded",
    b"content-encoding: gzip",
    b"content-encoding: identity",
    b"origin: http://localhost:3000",
    b"origin: http://example.com",
    b"x-nexus-zone: restricted ",
    b"x-nexus-zone: nowhere",
    b"x-request-id: mine",
    b"x-request-id: a\x7fb",
    b"cookie: a=1\r\ncookie: b=2",
    b"accept: */*\r\nACCEPT: */*",
    b"\r\n".join(b"x-%d: %d" % (number, number) for number in range(400)),
    b"x-long: " + b"a" * 20_000,
)

Mutation = Callable[[Draft], Draft]


def _replacing(**changes: bytes) -> Mutation:
    return lambda draft: replace(draft, **changes)  # type: ignore[arg-type]


def _length(form: bytes) -> Mutation:
    def mutate(draft: Draft) -> Draft:
        size = (len(draft.body),) * form.count(b"%")
        return draft.without(b"content-length").with_line(b"content-length: " + form % size)

    return mutate


def _length_off(by: int) -> Mutation:
    def mutate(draft: Draft) -> Draft:
        size = b"content-length: %d" % max(0, len(draft.body) + by)
        return draft.without(b"content-length").with_line(size)

    return mutate


def _second_length(by: int) -> Mutation:
    return lambda draft: draft.with_line(b"Content-Length: %d" % (len(draft.body) + by))


def _chunked(form: Callable[[bytes], bytes], *, keep_length: bool) -> Mutation:
    def mutate(draft: Draft) -> Draft:
        kept = draft if keep_length else draft.without(b"content-length")
        body = form(draft.body)
        return replace(kept.with_line(b"transfer-encoding: chunked"), body=body)

    return mutate


def _one_chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


CHUNKINGS: tuple[Callable[[bytes], bytes], ...] = (
    _one_chunk,
    lambda body: b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n",
    lambda body: b"%X;a=b\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (len(body), body),
    lambda body: b"%x \r\n%b\r\n0\r\n\r\n" % (len(body), body),
    lambda body: b"%x\n%b\n0\n\n" % (len(body), body),
    lambda body: b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    lambda body: b"-%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    lambda body: b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) + 3, body),
    lambda body: b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 3, body),
    lambda body: b"fffffffffffffffffffff\r\n" + body,
    lambda body: b"0\r\n\r\n" + body,
    lambda body: b"%x\r\n%b\r\n" % (len(body), body),
    lambda body: body,
)


def _line_end(number: int, end: bytes) -> Mutation:
    return lambda draft: replace(draft, ends={**draft.ends, number: end})


def _all_line_ends(draft: Draft) -> Draft:
    return replace(draft, ends=dict.fromkeys(range(-1, 30), b"\n"))


def _followed_by(more: bytes) -> Mutation:
    """Bytes behind the body that its length does not count."""
    return lambda draft: replace(draft, body=draft.body + more)


MUTATIONS: st.SearchStrategy[Mutation] = st.one_of(
    st.sampled_from(METHODS).map(lambda value: _replacing(method=value)),
    st.sampled_from(TARGETS).map(lambda value: _replacing(target=value)),
    st.sampled_from(VERSIONS).map(lambda value: _replacing(version=value)),
    st.sampled_from(LENGTHS).map(_length),
    st.sampled_from((-30, -1, 1, 30)).map(_length_off),
    st.sampled_from((-1, 0, 1)).map(_second_length),
    st.sampled_from(LINES).map(lambda line: lambda draft: draft.with_line(line)),
    st.sampled_from(LINES).map(
        lambda line: lambda draft: replace(draft, lines=(*draft.lines, line))
    ),
    st.sampled_from((b"host", b"content-length", b"content-type")).map(
        lambda name: lambda draft: draft.without(name)
    ),
    st.builds(
        lambda form, keep: _chunked(form, keep_length=keep),
        st.sampled_from(CHUNKINGS),
        st.booleans(),
    ),
    st.builds(_line_end, st.integers(-1, 3), st.sampled_from((b"\n", b"\r", b"\r\r\n", b""))),
    st.just(_all_line_ends),
    st.sampled_from(((b"  ", b" "), (b" ", b"  "), (b"\t", b" "), (b" ", b""))).map(
        lambda spaces: lambda draft: replace(draft, spaces=spaces)
    ),
    st.sampled_from((b"\r\n", b"\n", b" ", b"\r\n\r\n")).map(lambda b: _replacing(before=b)),
    st.sampled_from((post(chat_body("smuggled")), get(), b"\r\n", b"0\r\n\r\n", b"x")).map(
        _followed_by
    ),
    st.sampled_from((b"", b"{}", b"not json", b"\xff\x00", b"x" * 30_000)).map(
        lambda body: lambda draft: _length_off(0)(replace(draft, body=body))
    ),
)


@st.composite
def requests(draw: st.DrawFn, text: str) -> bytes:
    """One request; about half of them are right."""
    draft = hot(text, stream=draw(st.booleans()))
    if draw(st.integers(0, 5)) == 0:
        draft = Draft(b"GET", b"/v1/models", lines=(b"host: localhost",))
    for mutate in draw(st.lists(MUTATIONS, max_size=2)):
        draft = mutate(draft)
    raw = draft.raw()
    return draw(damaged(raw)) if draw(st.integers(0, 9)) == 0 else raw


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """`raw` with a few bytes replaced by others, by none or by several; all of them ASCII, since
    the scripted backend reads bodies as UTF-8."""
    odd = st.integers(0, 127).map(lambda byte: bytes([byte]))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        put = draw(odd | st.sampled_from((b"", b"\r\n", b"\n", b" ", b":")))
        raw = raw[:at] + put + raw[at + 1 :]
    return raw


LAST = get("/health/live", "connection: close")


@st.composite
def streams(draw: st.DrawFn, *, until_close: bool = True) -> bytes:
    """One to four requests on one connection, and mostly one more that asks to close it.

    With `until_close`, nothing comes after the first that closes it.
    """
    count = draw(st.integers(1, 4))
    data = b"".join([draw(requests(f"r{number}")) for number in range(count)])
    data += LAST if draw(st.integers(0, 7)) else b""
    read = requests_in(data) if until_close else []
    return data[: read[-1].end] if read and read[-1].is_last else data


MOST_SINGLE_BYTES = 500


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` as the network may cut it, down to single bytes."""
    if len(data) <= MOST_SINGLE_BYTES and draw(st.integers(0, 9)) == 0:
        return [bytes([byte]) for byte in data]
    points = sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=6)))
    return [data[a:b] for a, b in itertools.pairwise([0, *points, len(data)])]
