from __future__ import annotations

import os
from pathlib import Path

import pytest

from nexus_proxy.config.load import find, load
from nexus_proxy.config.model import DEFAULT_PORT, Config, LogFormat, LogLevel
from nexus_proxy.config.paths import config_file
from nexus_proxy.errors import ConfigError


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_places_are_looked_at_in_order(elsewhere: Path, tmp_path: Path) -> None:
    assert find(None, {}) is None
    user = write(config_file())
    assert find(None, {}) == user
    here = write(elsewhere / "nexus.toml")
    assert find(None, {}) == here
    by_variable = write(tmp_path / "v.toml")
    assert find(None, {"NEXUS_CONFIG": str(by_variable)}) == by_variable
    by_flag = write(elsewhere / "f.toml")
    assert find("f.toml", {"NEXUS_CONFIG": str(by_variable)}) == by_flag


def test_the_users_file_is_in_the_users_folder(tmp_path: Path) -> None:
    assert config_file() == tmp_path / "home/config/nexus/nexus.toml"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "n.toml")
    assert find("~/n.toml", {}) == tmp_path / "n.toml"


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--config: there is no file /.*/absent\.toml;"):
        find("absent.toml", {})
    with pytest.raises(ConfigError, match=r"^NEXUS_CONFIG: there is no file"):
        find(None, {"NEXUS_CONFIG": "absent.toml"})
    with pytest.raises(ConfigError, match=r"^NEXUS_CONFIG: .* is a folder, not a file"):
        find(None, {"NEXUS_CONFIG": str(tmp_path)})


def test_an_unreadable_file_is_an_error(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(elsewhere / "n.toml")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(ConfigError, match="cannot be read; check its permissions"):
        find("n.toml", {})


def test_a_dangling_link_is_not_passed_over(elsewhere: Path) -> None:
    (elsewhere / "nexus.toml").symlink_to("gone.toml")
    with pytest.raises(ConfigError, match="there is no such file"):
        load(environ={})


def test_without_a_file_there_are_defaults() -> None:
    loaded = load(environ={})
    assert loaded.config == Config()
    assert loaded.path is None
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.origins["server.port"] == "default"


def test_it_starts_even_where_the_working_folder_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert load(environ={}).path is None


def test_flag_beats_variable_beats_file_beats_default(elsewhere: Path) -> None:
    path = write(
        elsewhere / "nexus.toml",
        "[server]\nport = 1\nmax_body_mb = 8\n[logging]\nlevel = 'error'\n",
    )
    loaded = load(
        environ={"NEXUS_PORT": "2", "NEXUS_LOG_LEVEL": "warning"}, flags={"server.port": 3}
    )
    assert loaded.config.server.port == 3
    assert loaded.config.server.max_body_mb == 8
    assert loaded.config.logging.level is LogLevel.WARNING
    assert loaded.config.server.host == "127.0.0.1"
    assert loaded.path == str(path)
    assert loaded.origins["server.port"] == "--port"
    assert loaded.origins["logging.level"] == "NEXUS_LOG_LEVEL"
    assert loaded.origins["server.max_body_mb"] == f"{path}:3"
    assert loaded.origins["server.host"] == "default"


def test_origins_name_backends_maps_and_policies(elsewhere: Path) -> None:
    path = write(
        elsewhere / "nexus.toml",
        "[[backends]]\nname = 'gpu'\nurl = 'http://g'\n\n[[backends]]\nname = 'a.b'\n"
        "url = 'http://a'\ntags = ['x']\n"
        "[routing]\naliases = { 'gpt-4.1' = 'q' }\n[[routing.policies]]\nmodel_pattern = '*'\n",
    )
    origins = load(environ={}).origins
    assert origins["backends.gpu.url"] == f"{path}:3"
    assert origins["backends.gpu.tags"] == "default"
    assert origins['backends."a.b".tags'] == f"{path}:8"
    assert origins['routing.aliases."gpt-4.1"'] == f"{path}:10"
    assert origins["routing.policies[0].model_pattern"] == f"{path}:12"
    assert origins["routing.policies[0].privacy"] == "default"


def test_values_are_normalised(elsewhere: Path) -> None:
    write(
        elsewhere / "nexus.toml",
        "[[backends]]\nname = 'gpu'\nurl = 'http://g'\nzone = 'Restricted'\n"
        "[timeouts]\nidle_seconds = 5\n",
    )
    config = load(environ={}).config
    assert config.backends[0].zone == "restricted"
    assert isinstance(config.timeouts.idle_seconds, float)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("1", "TRUE", "Yes", " on ")),
        *((text, False) for text in ("0", "false", "NO", "off")),
    ],
)
def test_booleans_in_variables(text: str, value: bool) -> None:
    loaded = load(environ={"NEXUS_DISCOVERY": text, "NEXUS_HEALTH_CHECK": text})
    assert loaded.config.discovery.enabled is value
    assert loaded.config.health_check.enabled is value


def test_every_variable_is_read() -> None:
    loaded = load(
        environ={
            "NEXUS_HOST": "::1",
            "NEXUS_PORT": " 0 ",
            "NEXUS_LOG_LEVEL": "DEBUG",
            "NEXUS_LOG_FORMAT": "json",
        }
    )
    assert (loaded.config.server.host, loaded.config.server.port) == ("::1", 0)
    assert loaded.config.logging.level is LogLevel.DEBUG
    assert loaded.config.logging.format is LogFormat.JSON


@pytest.mark.parametrize(
    ("variable", "text", "problem"),
    [
        (
            "NEXUS_PORT",
            "http",
            'server.port: must be a whole number from 0 to 65535, but is "http"',
        ),
        ("NEXUS_PORT", "70000", "but is 70000"),
        ("NEXUS_PORT", "-1", 'but is "-1"'),
        ("NEXUS_PORT", "9" * 5000, "server.port: must be"),
        ("NEXUS_PORT", "", "is set, but empty"),
        ("NEXUS_HOST", "a b", "server.host: is not an address"),
        ("NEXUS_HOST", "0.0.0.0", "no API keys yet"),
        ("NEXUS_LOG_LEVEL", "verbos", "must be one of debug"),
        ("NEXUS_LOG_FORMAT", "jsn", 'did you mean "json"?'),
        ("NEXUS_DISCOVERY", "maybe", 'must be true or false, but is "maybe"'),
        ("NEXUS_HEALTH_CHECK", "2", "must be true or false"),
    ],
)
def test_an_unreadable_variable_is_an_error_that_names_it(
    variable: str, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={variable: text})
    assert caught.value.file == variable
    assert problem in str(caught.value)


def test_a_flag_is_checked_and_one_of_none_was_not_given() -> None:
    with pytest.raises(ConfigError, match=r"^--port: server\.port: must be"):
        load(environ={}, flags={"server.port": 70000})
    assert load(environ={}, flags={"server.port": None}).config.server.port == DEFAULT_PORT
    flags = {"logging.level": LogLevel.DEBUG, "discovery.enabled": False}
    loaded = load(environ={"NEXUS_DISCOVERY": "1"}, flags=flags)
    assert loaded.config.logging.level is LogLevel.DEBUG
    assert loaded.config.discovery.enabled is False
    assert loaded.origins["discovery.enabled"] == "--no-discovery"


def test_a_file_is_wrong_even_where_a_flag_covers_it(elsewhere: Path) -> None:
    write(elsewhere / "nexus.toml", "[server]\nport = 'x'")
    with pytest.raises(ConfigError, match=r"nexus\.toml:2: server\.port"):
        load(environ={}, flags={"server.port": 1})


def test_a_flag_can_turn_an_open_host_into_a_safe_one(elsewhere: Path) -> None:
    write(elsewhere / "nexus.toml", "[server]\nhost = '0.0.0.0'")
    assert load(environ={}, flags={"server.host": "127.0.0.1"}).config.server.host == "127.0.0.1"
    write(elsewhere / "nexus.toml", "[server]\nallow_unauthenticated = true")
    assert load(environ={"NEXUS_HOST": "0.0.0.0"}).config.server.host == "0.0.0.0"


def test_one_error_stands_for_all_and_counts_the_others(elsewhere: Path) -> None:
    write(elsewhere / "nexus.toml", "[server]\na = 1\nb = 2\nport = 'x'")
    with pytest.raises(ConfigError) as caught:
        load(environ={})
    assert (caught.value.line, caught.value.others) == (2, 2)
    assert str(caught.value).endswith("; and 2 more problems: `nexus config check` lists all")
