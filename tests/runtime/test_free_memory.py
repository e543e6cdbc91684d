"""What was freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import quickserveml_tui
from quickserveml_tui.runtime.free_memory import return_free_memory

BLOCKS = """
import os
from quickserveml_tui.runtime.free_memory import return_free_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

blocks = [bytes(b"1" * 64_000) for _ in range(1500)]
last = blocks.pop()
blocks.clear()
before = resident()
return_free_memory()
print(before - resident(), len(last))
"""


@pytest.mark.skipif(not return_free_memory(), reason="the C library keeps what it has")
def test_memory_that_was_freed_below_what_is_in_use_goes_back_to_the_system():
    root = Path(quickserveml_tui.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS], capture_output=True, text=True, check=True, timeout=60, cwd=root
    )
    assert int(done.stdout.split()[0]) > 50_000_000
