from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import pytest

from nexus_proxy.config.example import annotated_example
from nexus_proxy.config.load import load
from nexus_proxy.config.model import BackendConfig, Config, PolicyConfig
from nexus_proxy.config.shape import is_struct, metas, plain
from nexus_proxy.config.write import ConfigFile

TEXT = annotated_example()
IN_USE = re.sub(r"(?m)^#(?! )", "", TEXT)


def fields(model: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and annotation of every key of the model, without list positions."""
    for field in msgspec.structs.fields(model):
        kind = plain(field.type)
        item = plain(get_args(kind)[0]) if get_origin(kind) is list else kind
        if is_struct(item):
            yield from fields(item, f"{name}{field.encode_name}.")
        else:
            yield f"{name}{field.encode_name}", field.type


def used(path: Path, text: str) -> Config:
    path.write_text(text)
    return load(str(path), environ={}).config


def test_as_it_is_it_says_the_defaults(tmp_path: Path) -> None:
    assert used(tmp_path / "n.toml", TEXT) == Config()


def test_every_key_of_the_model_can_be_taken_into_use(tmp_path: Path) -> None:
    config = used(tmp_path / "n.toml", IN_USE)
    assert len(config.backends) == len(config.routing.policies) == len(config.prices) == 1
    tree = tomllib.loads(IN_USE)
    for name, _annotation in fields(Config):
        value: Any = tree
        for part in name.split("."):
            value = value[part] if isinstance(value, dict) else value[0][part]
        assert value is not None


@pytest.mark.parametrize(("name", "annotation"), fields(Config))
def test_every_key_is_explained(name: str, annotation: Any) -> None:
    (help_,) = (meta.description for meta in metas(annotation) if meta.description)
    words = " ".join(line.removeprefix("# ") for line in TEXT.splitlines())
    assert help_ in words


def test_values_in_it_are_the_defaults_where_there_are_any() -> None:
    backend = tomllib.loads(IN_USE)["backends"][0]
    policy = tomllib.loads(IN_USE)["routing"]["policies"][0]
    defaults = msgspec.to_builtins(BackendConfig(name="", url=""))
    assert all(backend[key] == value for key, value in defaults.items() if value not in ("", None))
    assert policy["privacy"] == PolicyConfig(model_pattern="x").privacy.value


def test_lines_fit_and_explanations_are_told_from_settings() -> None:
    assert all(len(line) <= 98 for line in TEXT.splitlines() if line.startswith("# "))
    for line in TEXT.splitlines():
        assert re.match(r"$|# \S|#?\[|#[\w\"]", line)


def test_it_can_be_written_to(tmp_path: Path) -> None:
    path = tmp_path / "n.toml"
    path.write_text(TEXT)
    file = ConfigFile(path)
    file.set("server.port", 1)
    file.set_pin("m", "gpu")
    file.add_backend(BackendConfig(name="gpu", url="http://gpu"))
    config = load(str(path), environ={}).config
    assert config.server.port == 1
    assert config.routing.pins == {"m": "gpu"}
    assert [line for line in TEXT.splitlines() if line not in path.read_text().splitlines()] == []
