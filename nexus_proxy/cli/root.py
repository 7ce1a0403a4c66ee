"""`nexus`: the root of all commands. Nothing heavy is imported before it is known to be needed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NoReturn

import click

from nexus_proxy import __version__
from nexus_proxy.cli.exits import exit_code_of, guarded
from nexus_proxy.cli.options import Attach, RunOptions, RunUi

PROGRAM = "nexus"
LOG_LEVELS = ("debug", "info", "warning", "error")
EPILOG = (
    "Exit codes: 0 ok, 1 failure, 2 wrong usage or configuration, 3 no gateway answers. "
    "Environment: NEXUS_CONFIG, NEXUS_HOST, NEXUS_PORT, NEXUS_LOG_LEVEL, NEXUS_LOG_FORMAT, "
    "NEXUS_DISCOVERY, NEXUS_HEALTH_CHECK, NEXUS_API_KEY."
)
COMMANDS = {
    "airplane": "airplane:airplane",
    "aliases": "aliases:aliases",
    "announce": "announce:announce",
    "backends": "backends:backends",
    "chat": "chat:chat",
    "completions": "completions:completions",
    "config": "config:config",
    "doctor": "doctor:doctor",
    "fallbacks": "aliases:fallbacks",
    "fleet": "fleet:fleet",
    "health": "models:health",
    "keys": "keys:keys",
    "logs": "logs:logs",
    "models": "models:models",
    "quality": "quality:quality",
    "queue": "queue:queue",
    "spend": "spend:spend",
    "requests": "requests:requests",
    "route": "explain:route",
    "why": "explain:why",
}
"""Name -> module below this package, and the command in it."""

MOST_WORKERS = 64

Decorated = Callable[..., Any]


class Root(click.Group):
    """A group whose commands are imported when they are asked for, and whose failures end in the
    exit codes of the contracts."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*COMMANDS, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name in self.commands or cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"nexus_proxy.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant. One that does not exist is refused with the nearest one,
        which click finds only among those that are imported."""
        name = args[0]
        if not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            ctx.fail(f"No such command '{name}'." + "".join(f" Did you mean '{n}'?" for n in near))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command of `ctx`."""
        return guarded(ctx, lambda: super(Root, self).invoke(ctx))

    def __call__(self, *args: Any, **_kwargs: Any) -> NoReturn:
        """Run with the given arguments, or the process's own, and leave with an exit code."""
        given = args[0] if args else None
        sys.exit(exit_code_of(lambda: self.main(given, PROGRAM, standalone_mode=False)))


def run_options(function: Decorated) -> Decorated:
    """The options of the two run modes."""
    for option in reversed(
        (
            click.option(
                "--config",
                "-c",
                type=click.Path(),
                metavar="PATH",
                help="Configuration file to use. Default: as `nexus config path` says.",
            ),
            click.option(
                "--host",
                "-H",
                metavar="HOST",
                help="Address to listen on. Default: as configured, or else 127.0.0.1.",
            ),
            click.option(
                "--port",
                "-p",
                type=click.IntRange(0, 65535),
                metavar="PORT",
                help="Port to listen on; 0: any free one. Default: as configured, or else 8000.",
            ),
            click.option(
                "--log-level",
                "-l",
                type=click.Choice(LOG_LEVELS, case_sensitive=False),
                help="Verbosity of the log.",
            ),
            click.option("--no-discovery", is_flag=True, help="Do not look for backends."),
            click.option("--no-health-check", is_flag=True, help="Take backends to be up."),
            click.option("--no-ui", is_flag=True, help="No terminal UI; log to standard error."),
            click.option(
                "--demo", is_flag=True, help="Bring a real llama.cpp with a small model along."
            ),
            click.option(
                "--workers",
                type=click.IntRange(1, MOST_WORKERS),
                metavar="N",
                help="Gateway processes on the one port, without UI. They act as one, but each "
                "keeps to its part of max_concurrent, and checks and learns about backends "
                "for itself.",
            ),
        )
    ):
        function = option(function)
    return function


def build(run_ui: RunUi | None = None, attach: Attach | None = None) -> click.Group:
    """The root command. Without `run_ui` every run is headless; without `attach` there is no such
    command."""

    @click.group(
        PROGRAM,
        cls=Root,
        invoke_without_command=True,
        context_settings={"help_option_names": ["--help", "-h"]},
        epilog=EPILOG,
    )
    @run_options
    @click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
    @click.pass_context
    def root(context: click.Context, /, **given: Any) -> None:
        """One address over every LLM backend you have.

        Without a command: run the gateway with its terminal UI, or without one where there is no
        terminal. Before a command, --config, --host and --port say where the gateway is.
        """
        context.obj = _options(given)
        if context.invoked_subcommand is None:
            context.exit(_run(context.obj, run_ui, no_ui=given["no_ui"]))
        if context.invoked_subcommand != "serve":
            _refuse_run_options(given)

    root.add_command(_serve())
    if attach is not None:
        root.add_command(_attach(attach))
    return root


def _serve() -> click.Command:
    @click.command("serve")
    @run_options
    @click.pass_context
    def serve(context: click.Context, /, **given: Any) -> None:
        """Run the gateway without a screen, with its log on standard error."""
        before = context.find_root().params
        merged = {
            name: before.get(name) if value is None or value is False else value
            for name, value in given.items()
        }
        options = context.find_root().obj = _options(merged)
        context.exit(_run(options, None, no_ui=True))

    return serve


def _attach(attach: Attach) -> click.Command:
    @click.command("attach")
    @click.argument("url", required=False)
    @click.option("--read-only", is_flag=True, help="Only look: no act is offered.")
    @click.pass_obj
    def attach_command(options: RunOptions, url: str | None, *, read_only: bool) -> None:
        """Open the terminal UI over a running gateway.

        URL is where it runs; by default as configured. A gateway on another machine asks for the
        management key, or for an API key that may watch, with which the screen is read-only;
        NEXUS_API_KEY holds it.
        """
        from nexus_proxy.cli.client import KEY_VARIABLE, gateway_url

        if not _has_terminal():
            raise click.UsageError("attach needs a terminal; `nexus requests -f` does without")
        address = gateway_url(url, options)
        click.get_current_context().exit(
            attach(address, os.environ.get(KEY_VARIABLE), read_only=read_only)
        )

    return attach_command


def _options(given: dict[str, Any]) -> RunOptions:
    return RunOptions(
        config=given["config"],
        host=given["host"],
        port=given["port"],
        log_level=given["log_level"],
        discovery=False if given["no_discovery"] else None,
        health_check=False if given["no_health_check"] else None,
        demo=given["demo"],
        workers=given["workers"] or 1,
    )


def _run(options: RunOptions, run_ui: RunUi | None, *, no_ui: bool) -> int:
    if run_ui is not None and not no_ui:
        if _has_terminal():
            if options.workers > 1:
                raise click.UsageError(
                    "--workers is for a gateway without a screen in it: run `nexus serve "
                    f"--workers {options.workers}`, and `nexus attach` in another terminal"
                )
            return run_ui(options)
        if _has_keys_and_screen():
            click.echo("standard error, where the UI draws, leads elsewhere: running without it")
        click.echo("no terminal here: running without the UI, as with --no-ui", err=True)
    if options.workers > 1:
        from nexus_proxy.cli.workers import run_workers

        return run_workers(options)
    from nexus_proxy.cli.run import run_headless

    return run_headless(options)


def _refuse_run_options(given: dict[str, Any]) -> None:
    for name in ("no_discovery", "no_health_check", "no_ui", "demo", "workers"):
        if given[name]:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is for running the gateway, not for a command"
            )


def _has_terminal() -> bool:
    """Textual draws on standard error."""
    return _has_keys_and_screen() and sys.stderr.isatty()


def _has_keys_and_screen() -> bool:
    return sys.stdout.isatty() and sys.stdin.isatty() and os.environ.get("TERM") != "dumb"
