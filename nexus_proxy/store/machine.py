"""Which machine, or container, this is."""

from __future__ import annotations

import hashlib
import os
import socket


def machine_id() -> str:
    """Eight hexadecimal digits that are the same for all processes whose process ids and loopback
    addresses mean the same."""
    try:
        space = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]
