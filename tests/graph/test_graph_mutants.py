"""A damaged model is read or refused with a reason; it never kills the reader."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from graph_builders import save
from test_graph_skim import with_weights_everywhere

import quickserveml_tui
from quickserveml_tui.services.demo import demo_folder

ROOT = Path(quickserveml_tui.__file__).parent.parent
SCRIPT = Path(__file__).with_name("graph_mutants.py")


@pytest.mark.parametrize("kind", ["demo", "nested"])
def test_damaged_copies_of_a_model_are_read_or_refused(kind, tmp_path):
    if kind == "demo":
        source = Path(shutil.copy(demo_folder() / "digits_cnn_int8.onnx", tmp_path))
    else:
        source = save(with_weights_everywhere(), tmp_path)
    command = [sys.executable, SCRIPT, source, "400"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    child = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)
    assert child.returncode == 0, child.stderr[-2000:]
