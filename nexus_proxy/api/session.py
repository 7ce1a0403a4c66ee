"""A browser that has shown the management key, as a cookie. Pure.

The cookie says until when it holds, signed with the key itself: every worker can judge it, it
lives through restarts, and a changed key ends it. The key is not in it.
"""

from __future__ import annotations

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie

NAME = "nexus_dashboard"
SECONDS = 12 * 3600
_MEANING = b"the browser dashboard of nexus, until "
"""So that the signature cannot pass for anything else that is ever signed with the key."""


def cookie(key: bytes, *, now: float) -> str:
    """The value of a new cookie."""
    until = str(int(now) + SECONDS)
    return f"{until}.{_signature(key, until)}"


def holds(header: bytes, key: bytes, *, now: float) -> bool:
    """Whether a `Cookie` header has a cookie that was given for this key and is not over."""
    try:
        found = SimpleCookie(header.decode("latin-1")).get(NAME)
    except CookieError:
        return False
    until, _, signature = found.value.partition(".") if found else ("", "", "")
    if not (until.isascii() and until.isdigit() and len(until) <= 12):
        return False
    same = hmac.compare_digest(signature.encode(), _signature(key, until).encode())
    return same and int(until) > now


def _signature(key: bytes, until: str) -> str:
    return hmac.new(key, _MEANING + until.encode(), hashlib.sha256).hexdigest()
