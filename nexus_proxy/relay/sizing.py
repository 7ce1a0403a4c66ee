"""How large a context a prompt needs, where a backend lets a request say so (Ollama).

Another size than the loaded one has the model loaded anew. So it is asked for only if the prompt
may not fit otherwise, in few steps, and then kept for what follows: asked in chat, Ollama would
load the model again with its default.
"""

from __future__ import annotations

from nexus_proxy.dialects.openai import RequestPeek
from nexus_proxy.state import ModelInfo

ASSUMED_CONTEXT = 4096
"""Tokens that Ollama gives a model that is not loaded yet, with less than 24 GiB of VRAM."""
SMALLEST = 8192
"""Doubled until the prompt fits."""
BYTES_PER_TOKEN = 3
"""Rather low: a model that is loaded anew is better than a prompt that is cut."""
ANSWER_TOKENS = 2048
MOST_ANSWER_TOKENS = 8192
"""Left for the answer: what was asked for, up to the second; the first where nothing was said."""


def context_for(peek: RequestPeek, model: ModelInfo, kept: int | None) -> int | None:
    """Tokens to ask for; None: the prompt fits as it is, or nobody knows what the model can take.

    `kept` is what was asked for before, and is loaded still.
    """
    largest = model.max_context
    if largest is None or model.remote:
        return None
    prompt = peek.prompt_bytes // BYTES_PER_TOKEN
    needed = prompt + min(peek.max_tokens or ANSWER_TOKENS, MOST_ANSWER_TOKENS)
    if kept is not None and needed <= kept:
        return kept
    if kept is None and prompt <= (model.context_length or ASSUMED_CONTEXT):
        return None
    size = SMALLEST
    while size < needed:
        size *= 2
    return min(size, largest)
