"""`nexus keys`: make an API key, list them, revoke one, with a running gateway or without.

A gateway that runs is asked, so that the change counts at once; it is told the hash of a new key,
never the secret. Without one the file is changed, which the next start reads.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import click
import msgspec
from msgspec import Struct

from nexus_proxy.admission.keys import Keyring, hash_of, new_secret
from nexus_proxy.admission.limits import Limits
from nexus_proxy.cli.client import Client, gateway_url, url_option
from nexus_proxy.cli.listing import ListGroup
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.cli.output import json_option, remark, say, show_json, show_table
from nexus_proxy.commands import Result
from nexus_proxy.config.entries import key_entry
from nexus_proxy.config.load import VARIABLE, find, load
from nexus_proxy.config.model import KeyConfig, Priority, Zone
from nexus_proxy.config.paths import config_file
from nexus_proxy.config.write import ConfigFile
from nexus_proxy.errors import CommandError, GatewayUnreachableError, NotFoundError
from nexus_proxy.state import KeyView

ROUTE = "/nexus/v1/keys"
REVOKE = "/nexus/v1/commands/key.revoke"


class Listing(Struct, frozen=True):
    """The answer of `GET /nexus/v1/keys`."""

    keys: list[KeyView]
    file: str


class Place(Protocol):
    """Where keys are kept. All methods raise `NexusError`."""

    def views(self) -> list[KeyView]:
        """All keys; what they used is 0 where no gateway runs."""

    def add(self, entry: KeyConfig) -> str:
        """Keep a key. Returns where and from when on, as a sentence."""

    def revoke(self, name: str) -> str:
        """Forget a key. Returns what that means, as a sentence."""


class Running:
    """A gateway that runs, and what it said of its keys."""

    def __init__(self, client: Client, listing: Listing) -> None:
        self._client, self._listing = client, listing

    def views(self) -> list[KeyView]:
        """See `Place`."""
        return self._listing.keys

    def add(self, entry: KeyConfig) -> str:
        """See `Place`."""
        self._client.post(ROUTE, msgspec.to_builtins(entry), dict[str, str])
        return f"{entry.name} opens {self._client.url} from now on; kept in {self._listing.file}"

    def revoke(self, name: str) -> str:
        """See `Place`."""
        return self._client.post(REVOKE, {"key": name}, Result).message


class AtRest:
    """The configuration file, where no gateway runs that would be told."""

    def __init__(self, path: Path, options: RunOptions) -> None:
        self._path, self._options = path, options
        self._file = ConfigFile(path, is_live=False)

    def views(self) -> list[KeyView]:
        """See `Place`."""
        keyring = Keyring(self._configured())
        return list(Limits(keyring).views(keyring))

    def add(self, entry: KeyConfig) -> str:
        """See `Place`."""
        if any(key.name == entry.name for key in self._configured()):
            raise CommandError(
                f"a key called {entry.name!r} exists already; revoke it or take another name"
            )
        self._file.add_key(entry)
        return f"{entry.name} kept in {self._path}; a gateway with this file takes it over"

    def revoke(self, name: str) -> str:
        """See `Place`."""
        names = [key.name for key in self._configured()]
        if name not in names:
            known = ", ".join(names) or "none"
            raise NotFoundError(f"no key is called {name!r} in {self._path} (there are: {known})")
        self._file.remove_key(name)
        return f"{name} revoked in {self._path}; a gateway with this file lets it in no more"

    def _configured(self) -> list[KeyConfig]:
        return load(self._options.config, environ=os.environ, starting=False).config.keys


@click.group(cls=ListGroup)
def keys() -> None:
    """API keys of clients: create, list, revoke.

    Without any, every program of this machine may use the gateway. With one or more, every
    request needs one.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--zone",
    type=click.Choice([zone.label for zone in Zone], case_sensitive=False),
    help="Its requests stay in this zone or a closer one.",
)
@click.option(
    "--models",
    multiple=True,
    metavar="GLOB",
    help="Model or alias it may ask for; more than once for several. Default: all.",
)
@click.option("--rpm", type=int, metavar="N", help="Requests per minute.")
@click.option("--tpm", type=int, metavar="N", help="Tokens per minute, prompt and answer together.")
@click.option("--monthly-limit", type=float, metavar="USD", help="Most it may spend in a month.")
@click.option(
    "--priority",
    type=click.Choice([one.value for one in Priority], case_sensitive=False),
    help="Class in the queue.",
)
@click.option(
    "--watch",
    is_flag=True,
    help="May also look at all that an operator sees, and change nothing of it.",
)
@json_option
@url_option
@click.make_pass_decorator(RunOptions, ensure=True)
def create(options: RunOptions, /, gateway: str | None, as_json: bool, **given: Any) -> None:
    """Make an API key called NAME.

    The secret goes to standard output, once; nobody can show it again.
    """
    secret = new_secret()
    entry = key_entry(
        {
            "name": given["name"],
            "hash": hash_of(secret),
            "zone": given["zone"],
            "models": list(given["models"]) or None,
            "requests_per_minute": given["rpm"],
            "tokens_per_minute": given["tpm"],
            "monthly_limit_usd": given["monthly_limit"],
            "priority": given["priority"],
            "watch": given["watch"] or None,
        }
    )
    with _place(gateway, options) as place:
        remark(place.add(entry))
    if as_json:
        show_json({"name": entry.name, "secret": secret})
        return
    remark("The secret, shown only now; clients send it as `Authorization: Bearer …`:")
    click.echo(secret)


@keys.command("list")
@json_option
@url_option
@click.make_pass_decorator(RunOptions, ensure=True)
def list_(options: RunOptions, gateway: str | None, as_json: bool) -> None:
    """List the API keys, their limits and what they used since the gateway started.

    A limit shows what is left of it now. Secrets are not kept and cannot be shown.
    """
    with _place(gateway, options) as place:
        views = place.views()
    if as_json:
        show_json(views)
    elif views:
        header = ("NAME", "ZONE", "PRIORITY", "MODELS", "WATCH", "REQ/MIN", "TOK/MIN", "USD/MONTH")
        used = ("REQUESTS", "TOKENS", "REFUSED", "LAST USED")
        figures = ("REQ/MIN", "TOK/MIN", "USD/MONTH", "REQUESTS", "TOKENS", "REFUSED")
        show_table((*header, *used), [_row(view) for view in views], right=figures)
    else:
        remark("No keys: every program of this machine may use the gateway.")
        remark("`nexus keys create NAME` makes one.")


@keys.command()
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@url_option
@click.make_pass_decorator(RunOptions, ensure=True)
def revoke(options: RunOptions, gateway: str | None, as_json: bool, name: str, yes: bool) -> None:
    """Let the API key called NAME in no more; requests that run with it finish."""
    with _place(gateway, options) as place:
        known = any(view.name == name for view in place.views())
        if known and not yes and sys.stdin.isatty():
            remark(f"Whoever uses the key {name} is refused from now on, for good.")
            if not click.confirm("Go on?", err=True):
                raise CommandError("nothing was changed")
        result = Result(message=place.revoke(name))
    if as_json:
        show_json(result)
    else:
        say(result.message)


@contextmanager
def _place(url: str | None, options: RunOptions) -> Iterator[Place]:
    path = find(options.config, os.environ) or config_file()
    try:
        address = gateway_url(url, options)
    except click.UsageError:
        if url is not None:
            raise
        yield AtRest(path, options)  # port 0: a gateway there cannot be found
        return
    with Client(address) as client:
        listing = _listing(client, is_wanted=url is not None)
        is_named = options.config is not None or VARIABLE in os.environ
        if listing is None or (url is None and is_named and not _is_same(listing.file, path)):
            yield AtRest(path, options)
        else:
            yield Running(client, listing)


def _listing(client: Client, *, is_wanted: bool) -> Listing | None:
    """What the gateway says of its keys; None where none answers or lets us manage it."""
    try:
        return client.get(ROUTE, Listing)
    except GatewayUnreachableError:
        if is_wanted:
            raise
    except CommandError as error:
        if is_wanted:
            raise
        remark(f"The gateway at {client.url} was not asked: {error.message}")
    return None


def _is_same(file: str, path: Path) -> bool:
    return os.path.realpath(file) == os.path.realpath(path)


def _row(view: KeyView) -> tuple[str, ...]:
    spent = "" if view.spent_usd is None else f"{view.spent_usd:.2f} of "
    limit = "-" if view.monthly_limit_usd is None else f"{spent}{view.monthly_limit_usd:g}"
    return (
        view.name,
        "any" if view.zone is Zone.OPEN else view.zone.label,
        view.priority,
        ", ".join(view.models) or "all",
        "yes" if view.watch else "-",
        _limit(view.requests_left, view.requests_per_minute),
        _limit(view.tokens_left, view.tokens_per_minute),
        limit,
        str(view.requests),
        str(view.tokens),
        str(view.refused),
        _moment(view.last_used),
    )


def _limit(left: int | None, limit: int | None) -> str:
    return "-" if limit is None else f"{left} of {limit}"


def _moment(at: float | None) -> str:
    """A moment of the gateway's clock, in the time of this machine."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
