"""What the whole suite needs of the system."""

from __future__ import annotations

import resource

OPEN_FILES = 4096


def pytest_configure():
    """Allow as many open files as thousands of stores and processes in one run take, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
