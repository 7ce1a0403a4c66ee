"""What the lane reads in a head, Hypercorn's parser reads too; all other heads are not for it."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given, settings

from nexus_proxy.server.request_head import RequestHead, read_head
from tests.contract.lane import odd_requests
from tests.contract.lane.client import CHAT, get, post

RIGHT = post(b"{}")


def as_hypercorn_reads(head: bytes) -> h11.Request | None:
    """The request as h11 reads it, or None if it refuses it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    assert isinstance(event, h11.Request)
    return event


def head_of(raw: bytes) -> bytes:
    return raw[: raw.find(b"\r\n\r\n") + 4]


@given(odd_requests.requests("hi"))
@example(RIGHT)
@example(RIGHT.replace(b"POST", b"PUT"))
@example(RIGHT.replace(b"HTTP/", b"RTSP/"))
@example(RIGHT.replace(b" HTTP", b"  HTTP"))
@example(b"\r\n" + RIGHT)
@settings(max_examples=1000, deadline=None)
def test_no_head_means_two_things(raw: bytes) -> None:
    ours = read_head(head_of(raw))
    if ours is None:
        return
    theirs = as_hypercorn_reads(head_of(raw))
    assert theirs is not None
    assert (theirs.method, theirs.http_version) == (b"POST", b"1.1")
    assert theirs.target == ours.target
    assert list(theirs.headers) == list(ours.headers.items())
    assert int(dict(theirs.headers)[b"content-length"]) == ours.length


def test_what_nearly_all_clients_send_is_for_the_lane() -> None:
    headers = {b"host": b"localhost", b"content-type": b"application/json", b"content-length": b"2"}
    assert read_head(head_of(RIGHT)) == RequestHead(CHAT.encode(), headers, 2, keep_alive=True)
    closing = read_head(head_of(post(b"{}", "Connection: Close")))
    assert closing is not None
    assert not closing.keep_alive


@pytest.mark.parametrize("name", ["host", "content-length", "content-type", "x-nexus-zone", "x"])
def test_a_header_that_comes_twice_is_not_for_the_lane(name: str) -> None:
    once = head_of(post(b"{}", f"{name}: 2")) if name.startswith("x") else head_of(RIGHT)
    assert read_head(once) is not None
    assert read_head(once[:-2] + f"{name.title()}: 2\r\n\r\n".encode()) is None


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("7", 7),
        ("  007\t", 7),
        ("999999999999", 999_999_999_999),
        *((odd, None) for odd in ("", "+7", "-7", "7, 7", "7 7", "0x7", "7_0", "7;", "\xb2")),
        ("0" * 12 + "7", None),
    ],
)
def test_a_length_is_a_few_digits_and_nothing_else(value: str, length: int | None) -> None:
    head = f"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {value}\r\n\r\n".encode("latin-1")
    read = read_head(head)
    assert (read.length if read is not None else None) == length


def test_other_methods_are_not_for_the_lane() -> None:
    for raw in (get(), RIGHT.replace(b"POST", b"GET"), RIGHT.replace(b"POST", b"post")):
        assert read_head(head_of(raw)) is None
