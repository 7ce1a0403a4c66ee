"""How the program ends: the exit code, and one sentence on standard error where it failed."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from typing import Any

import click

from nexus_proxy.cli.options import RunOptions
from nexus_proxy.cli.output import complain
from nexus_proxy.errors import ConfigError, GatewayUnreachableError, NexusError

OK, FAILURE, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130


def exit_code_of(main: Callable[[], Any]) -> int:
    """Run click's `main` (not standalone) and tell the exit code it came to."""
    try:
        code = main()
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else OK


def guarded(context: click.Context, command: Callable[[], Any]) -> Any:
    """Run `command`; what it fails with becomes a sentence and `click.exceptions.Exit`.

    A traceback is shown at log level debug only.
    """
    try:
        return command()
    except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
        raise
    except NexusError as error:
        _explain(context, error.message)
        raise click.exceptions.Exit(code_of(error)) from error
    except Exception as error:  # a bug, told in one line like any other failure
        _explain(context, f"internal error: {error!r}. `nexus --log-level debug …` shows where.")
        raise click.exceptions.Exit(FAILURE) from error


def _explain(context: click.Context, sentence: str) -> None:
    if _debugging(context.obj):
        traceback.print_exc()
    complain(sentence)


def _debugging(options: RunOptions | None) -> bool:
    given = options.log_level if options else None
    return (given or os.environ.get("NEXUS_LOG_LEVEL", "")).lower() == "debug"


def code_of(error: NexusError) -> int:
    """The exit code of a program that ends with this error."""
    if isinstance(error, ConfigError):
        return USAGE
    return UNREACHABLE if isinstance(error, GatewayUnreachableError) else FAILURE
