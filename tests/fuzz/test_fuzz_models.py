"""Index, sniffing, facts, layers and files of values are read or refused, whatever the bytes: a minute of fuzzing.

`QSML_FUZZ_SEED` and `QSML_FUZZ_SECONDS` vary it; scripts/fuzz_models.py does the same for as long as one likes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "fuzz_models.py"
SEED = int(os.environ.get("QSML_FUZZ_SEED", "20260"))
SECONDS = float(os.environ.get("QSML_FUZZ_SECONDS", "15"))


def fuzz(out: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--engine", "own", "--workers", "1", "--out", out, *options]
    here = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), here])}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=110, env=environment
    )


@pytest.mark.parametrize(
    ("target", "seconds", "replays"),
    [
        pytest.param("index", SECONDS, 2_000, marks=pytest.mark.xdist_group("fuzz index")),
        pytest.param("facts", SECONDS, 800, marks=pytest.mark.xdist_group("fuzz facts")),
        pytest.param("values", SECONDS / 4, 1_000, marks=pytest.mark.xdist_group("fuzz values")),
    ],
)
def test_damaged_files_are_read_or_refused_within_time_and_memory(target, seconds, replays, tmp_path):
    ended = fuzz(tmp_path, "--target", target, "--seed", SEED, "--minutes", seconds / 60, "--replays", replays)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "\n0 findings." in ended.stdout


@pytest.mark.parametrize(
    ("bug", "found"),
    [
        ("escaping", "exception: IndexError at planted_bugs.py"),
        ("greedy", "exception: MemoryError at planted_bugs.py"),
        ("hanging", "hang: planted_bugs.py"),
        ("dying", "crash: SIGSEGV at planted_bugs.py"),
        ("hoarding", "memory: growth"),
    ],
)
def test_a_bug_that_is_put_in_is_found_and_its_input_kept(bug, found, tmp_path):
    options = ("--executions", 300, "--input-seconds", 0.3, "--deaths", 1)
    ended = fuzz(tmp_path, "--target", f"planted_bugs:{bug}", *options)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert found in ended.stdout
    assert all(path.with_suffix(".bin").exists() for path in (tmp_path / "findings").glob("*.txt"))
