"""Embeddings in the form that was asked for."""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode

import msgspec
from msgspec import Raw, Struct

from nexus_proxy.dialects.edit import edit
from nexus_proxy.dialects.openai import ABSENT, UNREADABLE, is_list


class _Answer(Struct):
    data: list[Raw]


class _Item(Struct):
    embedding: Raw = ABSENT


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_item = msgspec.json.Decoder(_Item).decode
_decode_vector = msgspec.json.Decoder(list[float]).decode


def as_base64(body: bytes) -> bytes:
    """An embeddings answer with its vectors as base64 of little-endian 32-bit floats.

    For backends that do not know `encoding_format`. Strings stay as they are, and so does an
    answer that cannot be read.
    """
    try:
        items = _decode_answer(body).data
        vectors = [_decode_item(item).embedding for item in items]
        if not any(map(is_list, vectors)):
            return body
        return edit(body, {"data": list(map(_packed, items, vectors))})
    except UNREADABLE:
        return body


def _packed(item: Raw, vector: Raw) -> Raw:
    if not is_list(vector):
        return item
    numbers = array("f", _decode_vector(vector))
    if sys.byteorder == "big":
        numbers.byteswap()
    return Raw(edit(bytes(item), {"embedding": b64encode(numbers.tobytes()).decode()}))
