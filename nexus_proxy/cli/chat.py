"""`nexus chat`: one question to a model, as any client asks, and what became of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

import click
from msgspec import Struct

from nexus_proxy.cli.client import KEY_VARIABLE, Client, gateway_url, url_option
from nexus_proxy.cli.completing import completing
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.cli.output import json_option, remark, show_json
from nexus_proxy.cli.talk import Answer, Message, talk_at
from nexus_proxy.cli.text import clean, milliseconds, tokens
from nexus_proxy.errors import CommandError
from nexus_proxy.tasks import spawn

LOOK_SECONDS = 0.05
"""Pieces that come closer together are written together."""


class Told(Struct, frozen=True, kw_only=True):
    """An answer for programs, with who gave it and why it was asked."""

    request_id: str | None
    model: str | None
    backend: str | None
    reason: str | None
    answer: str
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    first_token_ms: float | None
    tokens_per_second: float | None
    estimated_usd: str | None


@click.command()
@click.argument("model", shell_complete=completing("model"))
@click.argument("prompt", required=False)
@click.option("--system", help="A system prompt.")
@json_option
@url_option
@click.pass_context
def chat(
    context: click.Context,
    model: str,
    prompt: str | None,
    system: str | None,
    as_json: bool,
    gateway: str | None,
) -> None:
    """Ask MODEL one question: its answer as it comes, then who gave it, why and how fast.

    Without PROMPT it is read from standard input. Where the gateway has API keys, NEXUS_API_KEY
    holds one.
    """
    url = gateway_url(gateway, context.ensure_object(RunOptions))
    with Client(url) as client:
        client.get("/health/live", object)  # tells better than a stream who does not answer
    said = [Message("system", system)] if system else []
    said.append(Message("user", _typed() if prompt is None else prompt))
    answer = Answer()
    asyncio.run(_ask(url, model, said, answer, is_shown=not as_json))
    if as_json:
        show_json(_told(answer))
    else:
        click.echo()
        remark(_summary(answer))


def _typed() -> str:
    if sys.stdin.isatty():
        remark("Type the prompt; Ctrl-D on a line of its own ends it.")
    return sys.stdin.read()


async def _ask(
    url: str, model: str, said: Sequence[Message], answer: Answer, *, is_shown: bool
) -> None:
    """Raises `CommandError` where the gateway refuses or the answer breaks off."""
    key = os.environ.get(KEY_VARIABLE)
    asking = spawn(_failure(talk_at(url, key, model, said, answer)), name="chat")
    while not asking.done():
        await asyncio.wait([asking], timeout=LOOK_SECONDS)
        _show(answer, is_shown=is_shown)
    if (failure := asking.result()) is not None:
        raise failure


async def _failure(talking: Coroutine[Any, Any, None]) -> CommandError | None:
    """What it failed with, which is the caller's to tell."""
    try:
        await talking
    except CommandError as error:
        return error
    return None


def _show(answer: Answer, *, is_shown: bool) -> None:
    for piece in answer.take():
        if is_shown:
            lines = (clean(line, len(line)) for line in piece.text.split("\n"))
            click.echo("\n".join(lines), nl=False, err=piece.is_reasoning)


def _told(answer: Answer) -> Told:
    return Told(
        request_id=answer.request_id,
        model=answer.model,
        backend=answer.backend,
        reason=answer.reason,
        answer=answer.text,
        finish_reason=answer.finish,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        first_token_ms=answer.first_token_ms,
        tokens_per_second=answer.tokens_per_second,
        estimated_usd=answer.estimated_usd,
    )


def _summary(answer: Answer) -> str:
    parts = [
        f"{answer.model} on {answer.backend} ({answer.reason})",
        f"{tokens(answer.prompt_tokens)} tokens in, {tokens(answer.completion_tokens)} out",
        f"first token after {milliseconds(answer.first_token_ms)}",
    ]
    if answer.tokens_per_second is not None:
        parts.append(f"{answer.tokens_per_second:.0f} tokens/s")
    if answer.estimated_usd is not None:
        parts.append(f"about ${answer.estimated_usd}")
    return f"{', '.join(parts)}; `nexus why {answer.request_id}` tells more"
