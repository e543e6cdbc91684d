"""What the whole suite needs of the system."""

from __future__ import annotations

import os
import resource
import sys

import pytest

OPEN_FILES = 4096


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One worker more than cores: tests wait a quarter of their time, for processes, screens and the disk."""
    asked = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    return int(asked) if asked else len(os.sched_getaffinity(0)) + 1


def pytest_configure():
    """Let the thousands of processes of one run find their modules compiled, and open as many files as they take.

    Containers often forbid Python to write bytecode: then every runner, worker and command would compile every module
    anew, a fifth of the time of the whole suite.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
