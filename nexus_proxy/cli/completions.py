"""`nexus completions`: shell completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM = "nexus"
VARIABLE = "_NEXUS_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completions(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: nexus completions bash > ~/.local/share/bash-completion/completions/nexus
    zsh:  nexus completions zsh > ~/.zfunc/_nexus
    fish: nexus completions fish > ~/.config/fish/completions/nexus.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click {click.__version__} knows no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, PROGRAM, VARIABLE).source())
