"""What all tables of the file share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
Tier = Annotated[int, Meta(ge=1, le=5)]
Usd = Annotated[float, Meta(ge=0, le=10_000)]
"""USD per million tokens. The dearest public price is 600 (o1-pro); more than 10,000 is a slip."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every table in the file."""
