"""What people read: results on stdout, the rest on stderr, and no escapes where there is no terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from cli_harness import Cli, check, environment, save_model

from quickserveml_tui.cli.output import to_ascii


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",), ("list",), ("show", "linear"), ("inspect", "linear"), ("inspect", "linear", "--layers"),
        ("doctor",), ("predict", "linear"), ("benchmark", "linear", "--runs", "50"), ("config", "show"),
        ("schema", "linear"), ("lst",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_escape_sequence_leaves_without_a_terminal(stocked: Cli, arguments: tuple[str, ...]) -> None:
    result = stocked(*arguments)
    assert "\x1b" not in result.out + result.err
    assert "\r" not in result.out + result.err


def test_an_error_is_one_sentence_and_a_hint_on_stderr(stocked: Cli) -> None:
    result = stocked("show", "linaer")
    assert result.out == ""
    assert result.err.splitlines() == ["✕ There is no model “linaer”.", "  Did you mean linear?"]


def test_ascii_terminals_get_ascii(stocked: Cli) -> None:
    result = stocked.process("show", "linaer", env={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert result.err.splitlines()[0] == 'x There is no model "linaer".'
    assert to_ascii("✓ 3 × 4 µs – 日") == "+ 3 x 4 us - ?"


def test_numbers_stand_right_and_headers_above_them(stocked: Cli) -> None:
    lines = stocked("list").out.splitlines()
    header, row = lines[0], lines[2]
    assert lines[1] == ""
    assert header.index("Params") + len("Params") == row.index("12") + 2
    assert lines[-1] == "1 model"


def test_reports_come_as_csv_json_and_markdown(stocked: Cli) -> None:
    rows = list(csv.DictReader(io.StringIO(stocked("list", "--format", "csv").out)))
    assert (rows[0]["name"], rows[0]["version"], rows[0]["params"]) == ("linear", "2", "12")
    layers = json.loads(stocked("inspect", "linear", "--layers", "--format", "json").out)
    assert layers[0]["op"] == "MatMul"
    text = stocked("benchmark", "linear", "--runs", "50", "--format", "markdown").out.splitlines()
    assert text[0].startswith("| Run | Model |")
    assert text[1].count("--:") > 5


def test_a_benchmark_says_how_to_repeat_it_and_where_its_figures_came_from(stocked: Cli) -> None:
    result = stocked("benchmark", "linear", "--runs", "50")
    assert result.code == 0
    assert "interval needs 368 runs" in result.out
    assert "onnxruntime" in result.out
    assert f"quickserveml benchmark linear@2 --duration 10s --runs 50 --home {stocked.home}" in result.out
    assert "warm-up" in result.err


def test_a_pipe_that_closes_early_is_no_error(stocked: Cli) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "quickserveml_tui", "--home", str(stocked.home), "config", "schema"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(30) == 0


def test_ctrl_c_keeps_the_partial_benchmark_and_exits_130(cli: Cli, model: Path) -> None:
    cli("add", str(model), "--name", "lin")
    process = subprocess.Popen(
        [sys.executable, "-m", "quickserveml_tui", "--home", str(cli.home), "benchmark", "lin", "--duration", "60s"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("measuring"):
            break
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "cancelled: a partial result" in out
    assert cli("list").out.count("lin") == 1


def test_ctrl_c_with_json_prints_the_partial_document(cli: Cli, model: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "quickserveml_tui", "--home", str(cli.home), "--json", "benchmark", str(model),
         "--duration", "60s", "--warmup", "60s", "--warmup-runs", "1000000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    while not psutil.Process(process.pid).children():  # until its runner has been started
        assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, ""), out
    document = json.loads(out)
    check(document, "error" if "error" in document else "benchmark")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_where_once_it_answers_and_ends_cleanly(stocked: Cli, stop: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "quickserveml_tui", "serve", "linear", "linear@1", "--port", "0", "--json",
         "--home", str(stocked.home)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        check(document, "serve")
        assert document["models"] == ["linear@1", "linear@2"]
        with urllib.request.urlopen(f"{document['url']}/v2/health/ready", timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(stop)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "")
    assert {json.loads(line)["level"] for line in err.splitlines()} == {"info"}


def test_an_unexpected_error_is_one_line_and_a_report_without_values(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from quickserveml_tui.cli import catalog

    def fail(*_arguments: object, **_options: object) -> None:
        secret = "hunter2"  # noqa: F841
        raise RuntimeError("token=qsml_abc_0123456789secret broke in " + str(Path.home() / "x"))

    monkeypatch.setattr(catalog, "print_model", fail)
    result = cli("show", "lin")
    assert result.code == 1
    assert result.err.count("\n") == 2
    report = Path(result.err.split(" is in ")[1].strip().removesuffix("."))
    text = report.read_text(encoding="utf-8")
    assert report.parent == cli.home / "logs"
    assert report.stat().st_mode & 0o777 == 0o600
    assert "RuntimeError" in text
    for leaked in ("hunter2", "0123456789secret", str(Path.home())):
        assert leaked not in text + result.err
    document = cli("show", "lin", "--json")
    assert (document.code, document.error["code"]) == (1, "internal")


def test_a_filter_deletes_nothing_without_a_terminal_or_a_yes(stocked: Cli) -> None:
    result = stocked("delete", "--filter", "linear")
    assert (result.code, result.out) == (2, "")
    assert "--yes" in result.err
    assert stocked("show", "linear").code == 0


def test_a_full_device_is_said_and_nothing_is_written_over(stocked: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "no" / "such" / "folder.npz"
    result = stocked("predict", "linear", "--output", str(folder), "--json")
    assert (result.code, result.error["code"]) == (3, "output.unwritable")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("--version",), ("config", "schema")])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_said_on_stderr(
    stocked: Cli, arguments: tuple[str, ...], unbuffered: str
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "quickserveml_tui", *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
            env=environment() | {"PYTHONUNBUFFERED": unbuffered, "QSML_HOME": str(stocked.home)}, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.splitlines()[0].endswith("The output cannot be written: No space left on device.")
    assert len(done.stderr.splitlines()) == 2


def test_closed_streams_do_no_harm(stocked: Cli) -> None:
    line = f"{sys.executable} -m quickserveml_tui --home {stocked.home}"
    for arguments, code in (("list >&-", 0), ("list --json >&- 2>&-", 0), ("show nothing 2>&-", 3)):
        done = subprocess.run(
            ["/bin/sh", "-c", f"{line} {arguments}"], capture_output=True, text=True, env=environment(), check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_reports_suit_streams_that_lack_their_glyphs(stocked: Cli) -> None:
    for layout in ("markdown", "csv", "json"):
        done = subprocess.run(
            [sys.executable, "-m", "quickserveml_tui", "--home", str(stocked.home), "list", "--format", layout],
            capture_output=True, env=environment() | {"PYTHONIOENCODING": "ascii"}, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"linear" in done.stdout


def test_version_and_help_need_no_home(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "never")
    assert cli.process("--version").out.startswith("quickserveml ")
    assert cli.process("--help").code == 0
    assert not cli.home.exists()


def test_the_tour_is_printed_without_a_terminal(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "demo")
    result = cli.process("demo")
    assert result.code == 0, result
    for part in ("1  The catalog", "digits", "3  How fast it is", "p50", "the label says 8", "Accuracy", "█"):
        assert part in result.out
    document = cli.json("demo", "demo")
    assert document["prediction"]["predicted"] == document["prediction"]["expected"]
    assert len(document["batches"]) == 3
    assert all(item["metrics"]["accuracy"] > 0.9 for item in document["batches"])


def test_completion_completes_commands_in_bash(tmp_path: Path) -> None:
    words = {"COMP_WORDS": "quickserveml bench", "COMP_CWORD": "1", "_QUICKSERVEML_COMPLETE": "complete_bash"}
    code = "import sys; sys.argv=['quickserveml']; from quickserveml_tui.cli.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(words), capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["benchmark"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_serve_both_names(cli: Cli, shell: str) -> None:
    script = cli("completion", shell).out
    assert "_QUICKSERVEML_COMPLETE" in script
    assert "_QSML_COMPLETE" in script


def test_adding_several_files_names_those_that_failed(cli: Cli, tmp_path: Path) -> None:
    good = save_model(tmp_path / "good.onnx")
    bad = tmp_path / "bad.onnx"
    bad.write_text("no")
    result = cli("add", str(good), str(bad))
    assert result.code == 3
    assert "good.onnx → good@1." in result.out
    assert "bad.onnx" in result.err


def test_a_printed_command_finds_the_home_that_was_chosen(stocked: Cli, tmp_path: Path) -> None:
    deleted = stocked("delete", "linear@1")
    command = next(line for line in deleted.out.splitlines() if line.startswith("Undo: ")).removeprefix("Undo: ")
    words = shlex.split(command)[1:]
    done = subprocess.run(
        [sys.executable, "-m", "quickserveml_tui", *words], env=environment({"QSML_HOME": str(tmp_path / "other")}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "linear@1" in done.stdout
