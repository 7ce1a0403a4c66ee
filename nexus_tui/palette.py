"""The command palette: every verb, said of every backend on which it makes sense now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from nexus_proxy.commands import COMMANDS, Command
from nexus_tui.keymap import label, makes_sense, named
from nexus_tui.safe_text import clean
from nexus_tui.selection import Selection

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.app import NexusApp

_PHRASES = {
    "backend.zone": "Zone of {}",
    "backend.tags": "Tags of {}",
    "backend.priority": "Priority of {}",
    "backend.pin": "Pin a model to {}",
    "backend.check": "Check {} now",
    "model.load": "Load a model on {}",
    "model.unload": "Unload a model on {}",
    "model.migrate": "Migrate a model from {}",
}
"""Where the verb followed by the backend's name would not read as a sentence."""

_NOUNS = {"key": "the key ", "alias": "", "fallback": "", "request": ""}
"""Kinds of things that have no row, and the word between the verb and their name."""


class Offer(NamedTuple):
    """One line of the palette."""

    text: str
    help: str
    verb: str
    selection: Selection
    given: Mapping[str, str] = {}


def offers(snapshot: Snapshot) -> Iterator[Offer]:
    """All that can be done now, in the order of the verbs table."""
    for command in COMMANDS:
        kinds = [argument.kind for argument in command.arguments if argument.required]
        if "backend" in kinds:
            yield from _on_backends(command, snapshot)
        elif "model" in kinds:
            yield from _on_pins(command, snapshot)
        elif kinds and kinds[0] in _NOUNS:
            yield from _on_named(command, kinds[0], snapshot)
        else:
            yield Offer(command.title, command.help, command.name, Selection())


def _on_backends(command: Command, snapshot: Snapshot) -> Iterator[Offer]:
    phrase = _PHRASES.get(command.name, f"{label(command)} {{}}")
    for view in snapshot.backends:
        if makes_sense(command.name, view):
            text = phrase.format(clean(view.name))
            yield Offer(text, command.help, command.name, Selection(backend=view.name))


def _on_pins(command: Command, snapshot: Snapshot) -> Iterator[Offer]:
    for model in snapshot.pins:
        text = f"{label(command)} {clean(model)}"
        yield Offer(text, command.help, command.name, Selection(model=model))


def _on_named(command: Command, kind: str, snapshot: Snapshot) -> Iterator[Offer]:
    argument = command.arguments[0].name
    for name, words in named(kind, snapshot).items():
        text = f"{label(command)} {_NOUNS[kind]}{clean(words)}"
        yield Offer(text, command.help, command.name, Selection(), {argument: name})


class NexusCommands(Provider):
    """Feeds the palette: verbs first, then what only concerns the screen."""

    @property
    def _nexus(self) -> NexusApp:
        return cast("NexusApp", self.app)

    def _offers(self) -> Iterator[Offer]:
        if self._nexus.source.read_only:
            return iter(())
        return offers(self._nexus.source.snapshot())

    async def discover(self) -> Hits:
        """What can be done with the selected backend, and what needs none."""
        selected = self._nexus.selection().backend
        for offer in self._offers():
            if offer.selection.backend in {None, selected}:
                run = partial(self._nexus.perform, offer.verb, offer.selection, **offer.given)
                yield DiscoveryHit(Content(offer.text), run, text=offer.text, help=offer.help)
        for command in self._nexus.get_system_commands(self.screen):
            yield DiscoveryHit(command.title, command.callback, help=command.help)

    async def search(self, query: str) -> Hits:
        """What can be done with any backend.

        Hits are plain text: `Matcher.highlight` would parse the names in them as markup.
        """
        matcher = self.matcher(query)
        for offer in self._offers():
            score = matcher.match(offer.text)
            if score > 0:
                run = partial(self._nexus.perform, offer.verb, offer.selection, **offer.given)
                yield Hit(score, Content(offer.text), run, text=offer.text, help=offer.help)
        for command in self._nexus.get_system_commands(self.screen):
            score = matcher.match(command.title)
            if score > 0:
                yield Hit(score, command.title, command.callback, help=command.help)
