from __future__ import annotations

import re
import sys
from pathlib import Path

import onnx
import pytest
from driver import TMUX, Terminal
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(TMUX is None, reason="tmux is not installed: stories need a real terminal")


def write_classifier(path: Path, features: int = 4, classes: int = 3) -> None:
    """A linear classifier with fixed weights: class k wins where feature k is the largest."""
    weights = [1.0 if row == column else 0.0 for row in range(features) for column in range(classes)]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["scores"], name="dense"),
            helper.make_node("Softmax", ["scores"], ["probabilities"], name="softmax"),
        ],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])],
        [helper.make_tensor("w", TensorProto.FLOAT, [features, classes], weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def write_rows(path: Path, rows: int = 60) -> None:
    """Rows whose largest feature is the label, all but the last, which is labelled wrongly."""
    lines = ["x0,x1,x2,x3,label"]
    for index in range(rows):
        label = index % 3
        values = ["1" if column == label else "0" for column in range(4)]
        lines.append(",".join([*values, str(label if index < rows - 1 else (label + 1) % 3)]))
    path.write_text("\n".join(lines) + "\n")


def measures(text: str) -> bool:
    """Whether the live view counts runs: the warm-up is over."""
    return re.search(r"\b[1-9][\d,]* runs", text) is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_classifier(tmp_path / "picker.onnx")
    write_rows(tmp_path / "rows.csv")
    return tmp_path


@pytest.fixture
def open_terminal(folder: Path):
    opened: list[Terminal] = []

    def start(size: tuple[int, int], *arguments: str) -> Terminal:
        env = {"QSML_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        command = [sys.executable, "-m", "quickserveml_tui", "open", *arguments]
        terminal = Terminal(command, size, env, folder)
        opened.append(terminal)
        return terminal

    yield start
    for terminal in opened:
        terminal.close()


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
def test_add_inspect_benchmark_cancel_benchmark_batch_by_keys_alone(open_terminal, folder: Path, size) -> None:
    narrow = size[0] < 100
    terminal = open_terminal(size)
    terminal.shows("Start with a model", "Add a model file")

    terminal.press("a").shows("from the file name")
    terminal.write("picker.on").press("Tab").shows("picker.onnx")
    terminal.press("Enter").shows("picker @1", "made picker@1")

    terminal.press("2").shows("Takes and gives", "picker@1", "batch × 4")
    terminal.press("]").shows("dense", "softmax", "MatMul")
    terminal.press("]").shows("Example request", "Free dims")
    terminal.press("]").shows("n records one from made-up inputs or a file")
    terminal.press("]").shows("producer", "digest")

    terminal.press("b")
    if narrow:
        terminal.shows("3 Benchmark")
    terminal.shows("live", "x cancel").until(measures, "the first measured runs")
    terminal.press("x").shows("partial", "Benchmark cancelled; kept")

    terminal.press("B").shows("Benchmark settings", "duration")
    terminal.press("C-u").shows("10s, 500ms, 2m").write("2s").lacks("10s, 500ms, 2m").press("Enter")
    terminal.shows("live").shows("steady", "--duration 2s", "Benchmark p50")
    if narrow:
        terminal.press("3")
    terminal.shows("throughput", "p95", "p99", "qsml benchmark" if not narrow else "quickserveml benchmark")
    terminal.press("3").shows("v histogram").press("t").shows("Rate and resources", "std dev")
    terminal.press("t").lacks("Rate and resources")

    terminal.press("r").shows("Run data through picker@1")
    terminal.write("rows.c").press("Tab").shows("rows.csv")
    terminal.press("Enter").shows("98.3 % of 60 rows right")
    terminal.press("4").shows("batch", "benchmark", "done")

    terminal.press("q").quits()
    assert "Traceback" not in terminal.text()
    assert (folder / "home" / "ui.json").is_file()
    assert (folder / "home" / "logs" / "workbench.log").is_file()


def test_the_first_live_chart_of_the_demo_takes_two_keys_and_ctrl_c_cancels_before_it_quits(open_terminal) -> None:
    terminal = open_terminal((120, 40))
    terminal.shows("Open the demo models")
    terminal.press("d").shows("digits @", "Demo added")
    terminal.press("b").shows("live").until(measures, "the first measured runs")
    terminal.press("C-c").shows("partial")
    terminal.press("C-c").quits()


def test_a_dropped_file_and_a_broken_file_are_answered_in_place(open_terminal, folder: Path) -> None:
    (folder / "broken model.onnx").write_bytes(b"<!doctype html>")
    terminal = open_terminal((80, 24))
    terminal.shows("Start with a model")
    terminal.paste(str(folder / "broken\\ model.onnx")).shows("from the file name", "broken model.onnx")
    terminal.press("Enter").lacks("from the file name").press("4").shows("failed")
    terminal.press("1").shows("Start with a model")
    terminal.paste(f"'{folder / 'picker.onnx'}'").shows("picker.onnx").press("Enter").shows("picker @1")
    terminal.press("q").quits()


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
def test_a_benchmark_outlives_the_window_and_a_deletion_is_undone_by_keys_alone(
    open_terminal, folder: Path, size
) -> None:
    narrow = size[0] < 100
    terminal = open_terminal(size)
    terminal.shows("Start with a model")
    terminal.press("a").shows("from the file name").write("picker.onnx").press("Enter").shows(
        "picker @1", "made picker"
    )

    terminal.press("B").shows("Benchmark settings", "duration")
    terminal.press("C-u").shows("10s, 500ms, 2m").write("6s").press("Enter")
    terminal.until(measures, "the first measured runs")
    terminal.press("q").shows("can go on without this window: benchmark picker@1", "k keep running")
    terminal.press("k").quits()

    again = open_terminal(size)
    again.shows("picker @1")
    if narrow:
        again.press("4")
    again.shows("benchmark  picker@1", "left")
    again.shows("1 ended", "done")
    again.press("3").shows("p95", "throughput").press("1").shows("picker @1")

    again.press("D").shows("Delete picker@1?").press("y").shows("deleted; u brings it back")
    again.press("u").shows("is back", "picker @1")
    again.press("q").quits()
