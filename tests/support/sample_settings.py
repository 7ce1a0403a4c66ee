"""A configuration as the gateway tells it: keys said in a file, by a variable and by a flag."""

from __future__ import annotations

import msgspec

from nexus_proxy.config.model import Config, Loaded
from nexus_proxy.config.settings import Setting, settings

FILE = "/home/me/.config/nexus/nexus.toml"
_RAW = {
    "server": {"port": 8100},
    "logging": {"level": "debug"},
    "routing": {"max_retries": 3, "aliases": {"claude-*-haiku*": "qwen3:8b"}},
    "backends": [{"name": "box", "url": "http://10.0.0.7:8080", "type": "llamacpp"}],
}
_ORIGINS = {
    "server.port": "--port",
    "logging.level": "NEXUS_LOG_LEVEL",
    "routing.max_retries": f"{FILE}:4",
    'routing.aliases."claude-*-haiku*"': f"{FILE}:7",
    "backends.box.name": f"{FILE}:10",
    "backends.box.url": f"{FILE}:11",
    "backends.box.type": f"{FILE}:12",
}


def sample_settings() -> list[Setting]:
    """All keys of the sample."""
    config = msgspec.convert(_RAW, Config)
    return settings(Loaded(config=config, origins=_ORIGINS, path=FILE))
