"""Groups of commands that list what they are about when no other command is named."""

from __future__ import annotations

import click

HELP = ("--help", "-h")


class ListGroup(click.Group):
    """`nexus backends` is `nexus backends list`, with its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Group`."""
        names_one = args and (not args[0].startswith("-") or args[0] in HELP)
        if not names_one and not ctx.resilient_parsing:  # else the shell completes a command
            args = ["list", *args]
        return super().parse_args(ctx, args)
