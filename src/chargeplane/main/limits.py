"""What the operating system allows this process."""

from __future__ import annotations

import resource


def raise_descriptor_limit() -> int:
    """Raises the soft limit of open files to the hard one: a socket is a descriptor, and the usual soft limit is 1024.

    Returns:
        Descriptors this process may open now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a hard limit of "unlimited" can be above what the kernel allows
        return soft
    return hard
