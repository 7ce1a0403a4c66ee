"""Whatever stands in a file: it is understood, or refused with a `ConfigError`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_proxy.config.document import Document, parse
from nexus_proxy.config.keys import flat
from nexus_proxy.config.load import load, problems
from nexus_proxy.config.locate import locate
from nexus_proxy.config.model import Config
from nexus_proxy.errors import ConfigError
from tests.unit.config.strategies import CONFIGS, NONSENSE, files, without_none

quick = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@quick
@given(NONSENSE)
def test_nonsense_is_refused_or_fits_the_model(tree: Mapping[str, Any]) -> None:
    text = tomlkit.dumps(tree)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # tomlkit writes some odd keys wrongly; not our subject
        return
    wrong = problems(Document("n.toml", data, locate(text)))
    assert wrong or isinstance(msgspec.convert(data, Config), Config)
    for error in wrong:
        assert error.key
        assert 1 <= (error.line or 0) <= text.count("\n") + 1
        assert str(error).isprintable()


@quick
@given(CONFIGS, NONSENSE, st.data())
def test_nonsense_within_a_good_configuration_is_refused(
    config: Config, nonsense: Mapping[str, Any], data: st.DataObject
) -> None:
    tree = without_none(msgspec.to_builtins(config))
    section = data.draw(st.sampled_from([k for k, v in tree.items() if isinstance(v, dict)]))
    tree[section] = nonsense
    wrong = problems(Document("n.toml", tree, {}))
    assert wrong or msgspec.convert(tree, Config)


@quick
@given(st.binary(max_size=60) | st.text("[]{}=.#'\"\\\n\r \tab1-:", max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(ConfigError):
        document = parse(raw, "n.toml")
        assert all(document.line((key,)) for key in document.data)


@quick
@given(text=files())
def test_a_good_file_loads_with_the_place_of_every_value(tmp_path: Path, text: str) -> None:
    path = tmp_path / "nexus.toml"
    path.write_text(text)
    loaded = load(str(path), environ={})
    written = flat(tomllib.loads(text))
    in_force = flat(msgspec.to_builtins(loaded.config))
    lines = text.split("\n")
    for key, origin in loaded.origins.items():
        if key not in written:
            assert origin == "default"
        elif written[key] not in ({}, []):
            assert in_force[key] == written[key]
            line = lines[int(origin.removeprefix(f"{path}:")) - 1]
            last = key.rsplit(".", 1)[-1].strip('"\\')
            assert last in line


@quick
@given(config=CONFIGS)
def test_a_configuration_survives_being_written_and_read(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "nexus.toml"
    path.write_text(tomlkit.dumps(without_none(msgspec.to_builtins(config))))
    assert load(str(path), environ={}).config == config
