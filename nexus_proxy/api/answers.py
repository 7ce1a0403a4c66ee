"""JSON in and out, as all management routes read and write it."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response, request

from nexus_proxy.errors import InvalidRequestError, UnsupportedMediaTypeError

JSON = "application/json"


def json_answer(value: Any, status: int = 200) -> Response:
    """`value` (structs, dicts, lists) as a JSON response."""
    return Response(msgspec.json.encode(value), status=status, content_type=JSON)


async def json_object() -> dict[str, Any]:
    """The object in the request's body; an empty body is an empty object.

    A form or plain text is refused, since those are what a hostile page can send without asking
    the browser first. Raises `UnsupportedMediaTypeError` and `InvalidRequestError`.
    """
    if request.mimetype != JSON:
        raise UnsupportedMediaTypeError(
            f"Content-Type {request.mimetype[:80]!r} is not taken here; send application/json"
        )
    body = await request.get_data()
    if not body.strip():
        return {}
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from None
    if not isinstance(decoded, dict):
        raise InvalidRequestError("the body must be a JSON object")
    return decoded
