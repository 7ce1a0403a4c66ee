"""From the name a client asked for to the model that is served."""

from __future__ import annotations

import difflib

from msgspec import Struct

from nexus_proxy.config.values import is_glob
from nexus_proxy.errors import UnknownModelError
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.types import Catalogue

LATEST = ":latest"
NEAREST = 3


class Resolution(Struct, frozen=True):
    """`path` starts with the name asked for and ends with `model`. `forced` is the backend of a
    `backend/id` name."""

    model: str
    path: tuple[str, ...]
    forced: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those of `path` that name a model: not a `backend/id`."""
        return self.path if self.forced is None else (*self.path[:-2], self.model)


def resolve(asked: str, catalogue: Catalogue, rules: Rules) -> Resolution:
    """Follow aliases, then find the model among those listed. Raises `UnknownModelError`.

    An id is tried as it is, with and without `:latest` (as Ollama does), and as `backend/id`.
    A listed id always beats a reading as `backend/id`, since ids may hold slashes.
    """
    path = rules.alias_path(asked)
    name = path[-1]
    if listed := _listed(name, catalogue):
        return Resolution(listed, path if listed == name else (*path, listed))
    backend, slash, rest = name.partition("/")
    if slash and backend in catalogue:
        listed = _listed(rest, catalogue)
        if listed and any(b.name == backend for b in catalogue.serving(listed)):
            return Resolution(listed, (*path, listed), forced=backend)
    raise unknown(asked, name, catalogue)


def unknown(asked: str, name: str, catalogue: Catalogue) -> UnknownModelError:
    """The error for a name that nobody lists, with the nearest names."""
    aliases = (alias for alias in catalogue.aliases if not is_glob(alias))
    known = sorted({*catalogue.model_ids(), *aliases})
    in_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name[:200].lower(), in_lower, n=NEAREST, cutoff=0.4)
    nearest = [in_lower[one] for one in close]
    shown = f"{asked[:200]!r}" + (f" (an alias for {name[:200]!r})" if name != asked else "")
    if nearest:
        hint = "Did you mean " + " or ".join(repr(n) for n in nearest) + "?"
    elif known:
        few = ", ".join(known[:NEAREST])
        hint = f"There are: {few}{' …' if len(known) > NEAREST else ''}"
    else:
        hint = "No backend lists any model yet; `nexus doctor` says where Nexus looked."
    return UnknownModelError(f"The model {shown} does not exist here. {hint}", nearest=nearest)


def _listed(name: str, catalogue: Catalogue) -> str | None:
    if catalogue.has_model(name):
        return name
    other = name.removesuffix(LATEST) if name.endswith(LATEST) else name + LATEST
    return other if catalogue.has_model(other) else None
