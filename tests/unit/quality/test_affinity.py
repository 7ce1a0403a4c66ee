"""A conversation is known again by its beginning, and by nothing that could be read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from nexus_proxy.quality.affinity import (
    BOUNDARIES,
    LEAST_BYTES,
    LONGEST_SECONDS,
    NO_KEYS,
    SESSION_HEADERS,
    Affinity,
    Home,
    session_of,
)
from tests.unit.quality.support import World

LONG = b'"' + b"system prompt " * 100 + b'"'
WORLD = World("a", "b")
A, B = WORLD.registry.get("a"), WORLD.registry.get("b")
CLOUD = WORLD.add("cloud", is_cloud=True)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def affinity(**options: int) -> tuple[Affinity, Clock]:
    clock = Clock()
    return Affinity(clock=clock, **options), clock


texts = st.binary(min_size=1, max_size=300)
conversations = st.lists(texts, min_size=1, max_size=30)


@given(conversations, st.lists(texts, min_size=1, max_size=BOUNDARIES - 1))
def test_what_continues_a_conversation_goes_where_it_was(
    said: list[bytes], more: list[bytes]
) -> None:
    table, _ = affinity()
    table.note(table.message_keys(said, "m"), A, "m")
    assert table.preferred(table.message_keys([*said, *more], "m")) == Home("a", "m")
    assert table.preferred(table.message_keys([*map(Raw, said), *map(Raw, more)], "m"))


@given(conversations, conversations)
def test_what_begins_otherwise_does_not(said: list[bytes], other: list[bytes]) -> None:
    table, _ = affinity()
    table.note(table.message_keys([b"first", *said], "m"), A, "m")
    assert table.preferred(table.message_keys([b"other", *other], "m")) is None
    assert table.preferred(table.message_keys([b"first", *said, b"x"], "another")) is None


def test_the_longest_known_beginning_wins() -> None:
    table, _ = affinity()
    said = [LONG, b"one", b"two"]
    table.note(table.message_keys(said, "m"), A, "m")
    branch = [*said, b"three", b"four"]
    table.note(table.message_keys(branch, "m"), B, "m")
    assert table.preferred(table.message_keys([*branch, b"five"], "m")) == Home("b", "m")
    assert table.preferred(table.message_keys([*said, b"else"], "m")) == Home("a", "m")


def test_a_turn_of_many_messages_is_known_by_the_first_two() -> None:
    table, _ = affinity()
    said = [LONG, b"question", b"answer"]
    table.note(table.message_keys(said, "m"), A, "m")
    results = [b"result %d" % number for number in range(40)]
    assert table.preferred(table.message_keys([*said, *results], "m")) == Home("a", "m")
    assert table.preferred(table.message_keys([LONG, b"other", *results], "m")) is None


def test_the_first_turn_leads_to_the_second_also_without_a_system_message() -> None:
    table, _ = affinity()
    table.note(table.message_keys([b'"Say hello."'], "m"), A, "m")
    second = [b'"Say hello."', b'"Hello."', b'"Again."']
    assert table.preferred(table.message_keys(second, "m")) == Home("a", "m")


def test_the_same_short_request_again_is_no_conversation() -> None:
    table, _ = affinity()
    for said in ([b'"Say hello."'], [b'"Be kind."', b'"Hello."']):
        table.note(table.message_keys(said, "m"), A, "m")
        before = A.conversations
        table.note(table.message_keys(said, "m"), A, "m")
        assert A.conversations == before
        assert table.preferred(table.message_keys(said, "m")) is None
    long = [b"x" * LEAST_BYTES]
    table.note(table.message_keys(long, "m"), A, "m")
    assert table.preferred(table.message_keys(long, "m")) == Home("a", "m")


def test_no_messages_have_no_keys() -> None:
    table, _ = affinity()
    assert table.message_keys([], "m") == NO_KEYS
    table.note(NO_KEYS, A, "m")
    assert table.preferred(NO_KEYS) is None
    assert len(table) == 0


def test_entries_end_with_their_time() -> None:
    table, clock = affinity()
    keys = table.session_keys(b"s", "m")
    table.note(keys, A, "m")
    clock.now = LONGEST_SECONDS - 1
    assert table.preferred(keys) == Home("a", "m")
    clock.now = LONGEST_SECONDS
    assert table.preferred(keys) is None


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60))
def test_the_table_is_bounded_and_the_one_used_longest_ago_makes_room(order: list[int]) -> None:
    table, _ = affinity(size=5)
    for number in order:
        table.note(table.session_keys(b"%d" % number, "m"), A, "m")
        assert len(table) <= 5
    newest = list(dict.fromkeys(reversed(order)))[:5]
    known = [n for n in newest if table.preferred(table.session_keys(b"%d" % n, "m"))]
    assert known == newest


def test_a_conversation_moves_with_who_answered_it_last() -> None:
    table, _ = affinity()
    keys = table.session_keys(b"s", "m")
    table.note(keys, A, "m")
    table.note(keys, B, "other")
    assert table.preferred(keys) == Home("b", "other")


def test_each_conversation_counts_once_where_it_is_and_until_it_is_forgotten() -> None:
    world = World("a", "b")
    one, two = world.registry.get("a"), world.registry.get("b")
    table, clock = affinity(size=6)

    def held() -> tuple[int, int]:
        return one.conversations, two.conversations

    said = [LONG]
    for turn in range(10):
        said += [b"answer %d" % turn, b"question %d" % turn]
        table.note(table.message_keys(said, "m"), one, "m")
    assert held() == (1, 0)
    table.note(table.message_keys([*said, b"x"], "m"), two, "m")
    assert held() == (0, 1)
    for number in range(20):
        table.note(table.session_keys(b"%d" % number, "m"), one, "m")
        assert sum(held()) <= 6
    assert held() == (6, 0)
    clock.now = LONGEST_SECONDS
    table.note(table.session_keys(b"new", "m"), two, "m")
    assert held() == (0, 1)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 400)), max_size=60))
def test_counts_never_drift(course: list[tuple[int, bool, int]]) -> None:
    world = World("a", "b")
    backends = [world.registry.get("a"), world.registry.get("b")]
    table, clock = affinity(size=5)
    for session, second, seconds in course:
        clock.now += seconds
        table.note(table.session_keys(b"%d" % session, "m"), backends[second], "m")
        assert all(one.conversations >= 0 for one in backends)
        assert sum(one.conversations for one in backends) == len(table._talks) <= 5


def test_the_cloud_is_nobodys_home() -> None:
    table, _ = affinity()
    keys = table.session_keys(b"s", "m")
    table.note(keys, A, "m")
    table.note(keys, CLOUD, "m")
    assert table.preferred(keys) == Home("a", "m")


def test_keys_are_of_one_process_only() -> None:
    one, two = affinity()[0], affinity()[0]
    assert one.message_keys([LONG], "m") != two.message_keys([LONG], "m")
    assert one.session_keys(b"s", "m") != two.session_keys(b"s", "m")


def test_nothing_that_was_said_is_kept() -> None:
    table, _ = affinity()
    table.note(table.message_keys([LONG, b"a secret"], "m"), A, "m")
    assert all(type(key) is int for key in table._keys)
    kept = [talk.home for talk in table._talks]
    assert kept == [Home("a", "m")]


def test_the_first_session_header_by_rank_counts() -> None:
    headers = {b"host": b"h"}
    assert session_of(headers) is None
    for name in reversed(SESSION_HEADERS):
        headers[name] = name.upper()
        assert session_of(headers) == name.upper()
    assert session_of({b"session-id": b"", b"x-session-id": b"2"}) == b"2"
