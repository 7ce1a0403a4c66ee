"""Configuration and socket: what can fail before a gateway is made of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nexus_proxy.config.load import load
from nexus_proxy.server.listen import PortInUseError, bind

if TYPE_CHECKING:
    import socket

    from nexus_proxy.cli.options import RunOptions
    from nexus_proxy.config.model import Loaded


def read_config(options: RunOptions) -> Loaded:
    """The configuration in force. Raises `ConfigError`."""
    return load(options.config, environ=os.environ, flags=options.flags())


def open_socket(loaded: Loaded) -> socket.socket:
    """The bound socket. Raises `NexusError`."""
    try:
        return bind(loaded.config.server.host, loaded.config.server.port)
    except PortInUseError as error:
        from nexus_proxy.cli.neighbour import port_in_use

        raise port_in_use(error) from None
