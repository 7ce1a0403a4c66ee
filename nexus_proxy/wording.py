"""Numbers of things, as sentences say them."""


def plural(number: int, noun: str) -> str:
    """`1 model`, `2 models`, `1,200 requests`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
