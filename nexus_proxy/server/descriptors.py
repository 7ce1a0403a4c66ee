"""How many files the process may have open: each client and each backend's connection is one."""

from __future__ import annotations

import sys

ENOUGH = 65_536
"""More would be of no use: 28,000 ports is what the kernel has for connections to one address."""


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one, which needs no right. The limit now.

    Many a shell gives 1,024 (macOS: 256), and only for the sake of programs that use `select`.
    """
    if sys.platform == "win32":
        return ENOUGH
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    # macOS calls its hard limit infinite, and takes no more than this one.
    for limit in (wanted, min(wanted, 10_240)):
        if soft == resource.RLIM_INFINITY or soft >= limit:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (OSError, ValueError):
            continue
        return limit
    return ENOUGH if soft == resource.RLIM_INFINITY else soft
