"""What the verbs act on."""

from __future__ import annotations

from typing import NamedTuple


class Selection(NamedTuple):
    """The backend, model and request under the cursor; None where the screen has no such thing."""

    backend: str | None = None
    model: str | None = None
    request: str | None = None
