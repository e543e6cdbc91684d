"""Index, sniffing, facts and layers return or refuse, whatever the bytes: half a minute of fuzzing in each of two groups.

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
SECONDS = float(os.environ.get("QSML_FUZZ_SECONDS", "16"))


def fuzz(out: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--engine", "own", "--workers", "1", "--out", out, *options]
    here = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), here])}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=110, env=environment
    )


@pytest.mark.parametrize(
    "target",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"fuzz {name}")) for name in ("index", "facts")],
)
def test_damaged_models_are_read_or_refused_within_time_and_memory(target, tmp_path):
    ended = fuzz(tmp_path, "--target", target, "--seed", SEED, "--minutes", SECONDS / 60, "--replays", 1_500)
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
