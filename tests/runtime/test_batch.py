"""Batch runs: every row is answered or set apart, and the counts are right."""

import itertools
import json
import multiprocessing
import os
import resource
import signal
import threading

import numpy as np
import onnxruntime
import pytest
from measured_models import batch_dependent, classifier, endless, gather, labelled, relu, two_inputs

from quickserveml_tui.core.errors import DataError, StoreError, UsageError
from quickserveml_tui.core.jobs import ignore_progress
from quickserveml_tui.core.predictions import BatchSpec, RowFailure
from quickserveml_tui.runtime import batch
from quickserveml_tui.runtime.answers import Answer, class_name, read_answers
from quickserveml_tui.runtime.batch import run_batch
from quickserveml_tui.runtime.session import Session
from quickserveml_tui.runtime.tally import Tally


def never():
    return False


def run(model, data, stop=never, on_progress=ignore_progress, **spec):
    return run_batch(Session(model), data, BatchSpec(**spec), on_progress, stop)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "data.csv"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return write


TABLE = "a,b,label\n" + "".join(f"{n % 2},{1 - n % 2},{(n + 1) % 2 if n % 10 else 1}\n" for n in range(100))


def test_every_row_is_answered_and_compared_with_the_truth(tmp_path, csv):
    model = classifier(tmp_path / "m.onnx", classes=2)
    output = tmp_path / "out.jsonl"
    result = run(model, csv(TABLE), output_path=str(output), batch_size=7)
    assert (result.rows, result.failed, result.correct) == (100, 0, 100)
    assert result.accuracy == 1.0
    assert result.classes == ("0", "1")
    assert result.confusion == ((50, 0), (0, 50))
    assert result.output == str(output)
    assert result.metadata == {"target": "label"}
    assert not result.cancelled
    written = lines(output)
    assert [line["row"] for line in written] == list(range(1, 101))
    assert written[0] == {
        "row": 1, "prediction": 1, "probability": pytest.approx(1, abs=1e-3), "target": "1", "correct": True,
    }  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 3, 32, 1000])
@pytest.mark.parametrize("lead", ["n", 1, 4])
def test_predictions_do_not_depend_on_the_batch_size_or_a_fixed_leading_dim(tmp_path, npz, batch_size, lead):
    rows = np.random.default_rng(0).random((11, 4)).astype(np.float32)
    model = classifier(tmp_path / "m.onnx", features=4, classes=4, shape=[lead, 2, 2])
    output = tmp_path / "out.jsonl"
    result = run(model, npz(x=rows), batch_size=batch_size, output_path=str(output))
    assert result.rows == 11
    assert [line["prediction"] for line in lines(output)] == rows.argmax(axis=1).tolist()
    assert result.accuracy is None


def test_logits_have_a_class_but_no_probability(tmp_path, npz):
    output = tmp_path / "out.jsonl"
    run(classifier(tmp_path / "m.onnx", softmax=False, classes=2), npz(x=np.array([[1, 2.0]])), output_path=str(output))
    assert lines(output) == [{"row": 1, "prediction": 1}]


@pytest.mark.parametrize("zipmap", [True, False])
def test_label_outputs_are_preferred_and_probabilities_read_beside_them(tmp_path, npz, zipmap):
    output = tmp_path / "out.jsonl"
    data = npz(x=np.array([[2, 0], [0, 2], [2, 0.0]]), y=np.array(["cat", "dog", "dog"]))
    result = run(labelled(tmp_path / "m.onnx", zipmap=zipmap), data, output_path=str(output))
    assert [line["prediction"] for line in lines(output)] == ["cat", "dog", "cat"]
    assert all(line["probability"] > 0.99 for line in lines(output))
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.classes == ("cat", "dog")
    assert result.confusion == ((1, 0), (1, 1))


def test_a_model_with_several_inputs_takes_a_column_for_each(tmp_path, csv):
    output = tmp_path / "out.jsonl"
    data = csv("name,b,a,ignored\nann,1,2,x\nbob,3,4,y\n")
    run(two_inputs(tmp_path / "m.onnx"), data, output_path=str(output))
    assert [line["prediction"] for line in lines(output)] == ["ann", "bob"]


def test_a_regression_writes_its_numbers_and_has_no_accuracy(tmp_path, csv):
    output = tmp_path / "out.jsonl"
    result = run(relu(tmp_path / "m.onnx", ("n", 1)), csv("x,target\n-1,0\n2.5,2.5\n"), output_path=str(output))
    assert [line["prediction"] for line in lines(output)] == [0.0, 2.5]
    assert result.accuracy is None
    assert result.classes == ()


def test_classes_named_differently_by_truth_and_model_have_no_accuracy(tmp_path, csv):
    result = run(classifier(tmp_path / "m.onnx"), csv("a,b,label\n1,0,cat\n0,1,dog\n"))
    assert result.accuracy is None
    assert result.confusion == ()
    assert "differently" in result.metadata["note"]


# ---- bad rows


def test_bad_rows_never_stop_the_run_and_are_written_with_the_reason(tmp_path, csv):
    output = tmp_path / "out.jsonl"
    result = run(
        classifier(tmp_path / "m.onnx"), csv("a,b,label\n1,0,0\noops,1,1\n0,1\n0,1,1\n"), output_path=str(output)
    )
    assert (result.rows, result.failed, result.accuracy) == (4, 2, 1.0)
    assert [failure.row for failure in result.failures] == [2, 3]
    assert sorted(line["row"] for line in lines(output)) == [1, 2, 3, 4]
    assert {line["row"] for line in lines(output) if "error" in line} == {2, 3}


def test_a_row_that_the_model_refuses_is_set_apart_and_its_neighbours_are_answered(tmp_path, csv):
    result = run(gather(tmp_path / "m.onnx"), csv("x,label\n0,0\n1,1\n77,2\n2,2\n"))
    assert (result.rows, result.failed, result.accuracy) == (4, 1, 1.0)
    assert result.failures[0].row == 3
    assert result.failures[0].reason == "Gather got the index 77, expected -3 to 2."
    assert "note" not in result.metadata


def test_a_row_answered_with_nan_is_set_apart(tmp_path, csv):
    result = run(classifier(tmp_path / "m.onnx"), csv("a,b\n1,0\nnan,0\n"))
    assert result.failures == (RowFailure(2, "The model answered NaN."),)


def test_only_the_first_hundred_failures_are_kept_and_all_are_counted(tmp_path, csv):
    result = run(classifier(tmp_path / "m.onnx"), csv("a,b\n1,2\n" + "x,1\n" * 2500))
    assert result.failed == 2500
    assert len(result.failures) == 100


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("a,b\n", "data.empty", "no rows"),
        ("a,b\nx,1\ny,2\n", "data.all_rows_failed", "None of the 2 rows"),
        ("a\n1\n", "data.columns", "1 feature column"),
    ],
)
def test_data_without_one_good_row_is_an_error_and_leaves_no_output(tmp_path, csv, text, code, words):
    output = tmp_path / "out.jsonl"
    with pytest.raises(DataError) as error:
        run(classifier(tmp_path / "m.onnx"), csv(text), output_path=str(output))
    assert error.value.code == code
    assert words in error.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "m.onnx"]


# ---- batches that change answers


def test_a_model_whose_rows_influence_each_other_runs_row_by_row(tmp_path, npz):
    rows = np.array([[1.0, 2.0], [100.0, 50.0], [3.0, 4.0]], dtype=np.float32)
    model, output = batch_dependent(tmp_path / "m.onnx"), tmp_path / "out.jsonl"
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    alone = [int(session.run(["y"], {"x": row[None]})[0].argmax()) for row in rows]
    result = run(model, npz(x=rows), output_path=str(output))
    assert [line["prediction"] for line in lines(output)] == alone
    assert "one by one" in result.metadata["note"]


# ---- progress, cancel, output


def test_progress_says_how_far_it_is_and_ends_at_the_total(tmp_path, csv):
    seen = []
    run(classifier(tmp_path / "m.onnx"), csv(TABLE + "x,y,z\n"), on_progress=seen.append, batch_size=1)
    assert seen[0].done == 0
    assert (seen[-1].done, seen[-1].total, seen[-1].failed, seen[-1].unit) == (101, 101, 1, "rows")
    assert seen[-1].rate_per_s > 0
    assert seen[-1].eta_s == 0
    assert len(seen) <= 2 + seen[-1].elapsed_s / 0.1


def test_a_stopped_run_returns_and_writes_what_it_has(tmp_path, csv):
    output, polls = tmp_path / "out.jsonl", iter([False, False, True])
    result = run(
        classifier(tmp_path / "m.onnx"), csv(TABLE), stop=lambda: next(polls), batch_size=10, output_path=str(output)
    )
    assert result.cancelled
    assert result.rows == 20
    assert len(lines(output)) == 20
    assert result.accuracy == 1.0


def test_a_run_row_by_row_stops_between_two_rows(tmp_path, npz):
    rows, polls = np.random.default_rng(0).random((300, 2), np.float32), itertools.count()
    model = batch_dependent(tmp_path / "m.onnx")
    result = run(model, npz(x=rows), stop=lambda: next(polls) > 50, batch_size=1_000)
    assert result.cancelled
    assert next(polls) < 60


def test_terminate_stops_an_inference_that_does_not_end(tmp_path, npz):
    session, done = Session(endless(tmp_path / "m.onnx")), threading.Event()

    def stop():
        while not done.wait(0.02):
            session.terminate()

    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        result = run_batch(session, npz(x=np.ones((3, 4))), BatchSpec(), ignore_progress, never)
    finally:
        done.set()
        stopper.join()
    assert result.cancelled
    assert result.rows == 0


@pytest.mark.parametrize("nameless", [True, False], ids=["a file without a name", "a file with a passing name"])
def test_an_output_that_was_there_is_replaced_only_at_the_end(tmp_path, csv, monkeypatch, nameless):
    monkeypatch.setattr(batch, "HAS_PROC", nameless)
    output = tmp_path / "out.jsonl"
    output.write_text("old\n")
    seen = []

    def watch(_progress):
        seen.append(output.read_text())

    run(classifier(tmp_path / "m.onnx"), csv(TABLE), output_path=str(output), on_progress=watch, batch_size=1)
    assert seen[0] == "old\n"
    assert len(lines(output)) == 100
    assert not list(tmp_path.glob(".out*"))


def die(_progress):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_leaves_nothing_beside_the_output(tmp_path, csv):
    output, model, data = tmp_path / "out" / "out.jsonl", classifier(tmp_path / "m.onnx"), csv(TABLE)
    output.parent.mkdir()

    child = multiprocessing.get_context("spawn").Process(
        target=run, args=(model, data, never, die), kwargs={"output_path": str(output)}
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert not list(output.parent.iterdir())


@pytest.mark.parametrize("name", ["data.csv", "", "no/such/folder.jsonl"])
def test_an_output_that_cannot_be_written_is_refused_before_the_run(tmp_path, csv, name):
    data = csv(TABLE)
    with pytest.raises(UsageError) as error:
        run(classifier(tmp_path / "m.onnx"), data, output_path=str(tmp_path / name))
    assert error.value.code == "usage.output"
    assert data.read_text() == TABLE


def test_a_full_disk_is_a_clear_error_and_the_old_output_stays(tmp_path, csv):
    """A file size limit makes the kernel refuse the write, as a full disk does."""
    output = tmp_path / "out.jsonl"
    output.write_text("old\n")
    data = csv("a,b\n" + "1,2\n" * 20_000)
    session = Session(classifier(tmp_path / "m.onnx"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreError) as error:
            run_batch(session, data, BatchSpec(output_path=str(output)), ignore_progress, never)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.code == "output.failed"
    assert output.read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "m.onnx", "out.jsonl"]


def test_wide_rows_run_in_smaller_batches_than_asked_for(tmp_path, npz, monkeypatch):
    monkeypatch.setattr(batch, "MAX_VALUES", 8)
    seen = []
    monkeypatch.setattr(batch, "PROGRESS_S", 0.0)
    model = classifier(tmp_path / "m.onnx", features=4, classes=2)
    result = run(model, npz(x=np.ones((6, 4))), batch_size=1000, on_progress=seen.append)
    assert result.rows == 6
    assert [progress.done for progress in seen] == [0, 2, 4, 6, 6]


@pytest.mark.parametrize("size", [0, -1, 10**9])
def test_a_batch_size_out_of_range_is_refused(tmp_path, csv, size):
    with pytest.raises(UsageError):
        run(classifier(tmp_path / "m.onnx"), csv(TABLE), batch_size=size)


# ---- the tally


def test_class_names_are_compared_as_values():
    assert class_name("3") == class_name(3) == class_name(3.0) == class_name(" 3.0 ") == "3"
    assert class_name("2.5") == "2.5"
    assert class_name("cat ") == "cat"
    assert class_name("nan") == "nan"


def test_classes_are_ordered_by_number_then_name():
    tally = Tally()
    for truth, guess in (("10", 2), ("2", 10), ("other", 2)):
        tally.add(Answer(guess, is_class=True), truth)
    assert tally.confusion() == (("2", "10", "other"), ((0, 1, 0), (1, 0, 0), (1, 0, 0)))


def test_a_confusion_matrix_of_too_many_classes_is_left_out():
    tally = Tally()
    for number in range(2000):
        tally.add(Answer(number, is_class=True), str(number))
    assert tally.confusion() == ((), ())
    assert tally.accuracy == 1.0


def test_outputs_without_a_dim_for_rows_have_no_prediction():
    assert read_answers({"y": np.zeros((7, 3))}, [], 2) == [Answer(None, is_class=False)] * 2
