"""What is remembered of answers: as much as there is room for, and each item once."""

from __future__ import annotations

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.responses_recent import MOST_BYTES, Recent


def recalled(recent: Recent, *ids: str, owner: str = "a") -> list[Json]:
    asked = {"input": [{"type": "item_reference", "id": id_} for id_ in ids]}
    given: list[Json] = recent.recalled(owner, asked)["input"]
    return given


def item(id_: str, size: int = 1) -> Json:
    return {"type": "message", "id": id_, "content": "x" * size}


def test_the_oldest_items_make_room() -> None:
    recent, large = Recent(), MOST_BYTES // 3
    recent.keep("a", [item("1", large)])
    recent.keep("b", [item("2", large)])
    recent.keep("b", [item("1")])
    recent.keep("a", [item("1", large), item("3")])
    recent.keep("a", [item("4", large)])
    assert [told["type"] for told in recalled(recent, "1", "3", "4")] == ["message"] * 3
    assert recalled(recent, "1", owner="b") == [item("1")]
    assert recalled(recent, "2", owner="b")[0]["type"] == "item_reference"
    recent.keep("a", [item("5", MOST_BYTES + 1)])
    assert [told["type"] for told in recalled(recent, "1", "5")] == ["item_reference"] * 2


def test_a_request_without_references_is_left_as_it_is() -> None:
    recent = Recent()
    recent.keep("a", [item("1")])
    for body in ({"input": "hi"}, {"input": [item("1"), {"type": "item_reference"}, 5]}, {}):
        assert recent.recalled("a", body) is body
