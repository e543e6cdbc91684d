"""Limits of time and memory grow with the model, and settings raise them."""

from __future__ import annotations

import os

import pytest
import runner_models as models

from quickserveml_tui.core.errors import RunnerCrashedError, RunnerTimeoutError
from quickserveml_tui.core.trials import TrialPolicy
from quickserveml_tui.runtime import host, limits
from quickserveml_tui.runtime.limits import GIB, RunnerLimits, limits_of, memory_cap_bytes, model_bytes
from quickserveml_tui.runtime.trial_report import breaking_report


def sparse(path, size):
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.fixture(autouse=True)
def _large_machine(monkeypatch):
    monkeypatch.setattr(host, "total_memory_bytes", lambda: 1000 * GIB)


def test_a_trial_gets_time_for_each_gigabyte_and_each_ten_thousand_nodes():
    base = RunnerLimits(trial_s=30.0, read_s=60.0)
    assert base.trial_limit_s(0) == 30.0
    assert base.trial_limit_s(3 * 10**9) == pytest.approx(90.0)
    assert base.trial_limit_s(0, nodes=100_000) == pytest.approx(40.0)
    assert base.read_limit_s(10**9) == pytest.approx(80.0)


def test_a_setting_replaces_the_base_and_the_cap():
    taken = limits_of(TrialPolicy(timeout_s=5.0, memory_bytes=GIB))
    assert (taken.trial_limit_s(10**9), taken.memory_bytes) == (25.0, GIB)
    assert limits_of(TrialPolicy()) == RunnerLimits()


def test_memory_grows_with_the_file_and_ends_at_the_machine(tmp_path, monkeypatch):
    small = models.adder(tmp_path)
    assert memory_cap_bytes(small) == 4 * GIB + 4 * small.stat().st_size
    monkeypatch.setattr(host, "total_memory_bytes", lambda: 2 * GIB)
    assert memory_cap_bytes(small) == int(0.8 * 2 * GIB)


def test_external_data_counts_and_neighbours_of_a_small_model_do_not(tmp_path):
    sparse(tmp_path / "w.bin", 3 * GIB)
    plain = models.adder(tmp_path)
    split = models.external(tmp_path, "w.bin")
    assert model_bytes(plain) == plain.stat().st_size
    assert model_bytes(split) >= 3 * GIB
    assert memory_cap_bytes(split) >= 16 * GIB


def test_the_name_of_other_files_is_found_across_two_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(limits.fs, "CHUNK_BYTES", 16)
    sparse(tmp_path / "w.bin", 10_000)
    assert model_bytes(models.external(tmp_path, "w.bin")) >= 10_000


def test_a_large_file_is_not_searched_and_its_folder_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_names_other_files", lambda _path: pytest.fail("searched"))
    large = sparse(tmp_path / "large.onnx", 65 << 20)
    sparse(tmp_path / "w.bin", GIB)
    assert model_bytes(large) == (65 << 20) + GIB
    assert memory_cap_bytes(large) > 8 * GIB


def test_external_data_in_a_folder_below_counts_and_links_do_not(tmp_path):
    (tmp_path / "weights" / "deep").mkdir(parents=True)
    sparse(tmp_path / "weights" / "deep" / "w.bin", 3 * GIB)
    (tmp_path / "loop").symlink_to(tmp_path)
    split = models.external(tmp_path, "weights/deep/w.bin")
    assert 3 * GIB <= model_bytes(split) < 4 * GIB


def test_a_folder_is_looked_at_up_to_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FOLDER_FILES", 3)
    folder = tmp_path
    for _level in range(6):
        folder = folder / "f"
        folder.mkdir()
    sparse(folder / "w.bin", GIB)
    assert model_bytes(models.external(tmp_path, "w.bin")) < GIB


@pytest.mark.parametrize("kind", ["missing", "fifo", "folder", "link"])
def test_what_is_no_file_has_no_size_and_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "x.onnx"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(path)
    assert model_bytes(path) < 1 << 20
    assert memory_cap_bytes(path) >= 4 * GIB


def test_a_kill_counts_as_lack_of_memory_only_when_the_system_did_it():
    death = RunnerCrashedError("The runtime crashed on this model (SIGKILL).", signal="SIGKILL")
    named = breaking_report(death, "onnxruntime 1.0.0", 30.0, starved=True)
    assert (named.code, named.signal, named.quarantined) == ("runtime.out_of_memory", "SIGKILL", True)
    assert "memory" in named.reason
    assert breaking_report(death, "onnxruntime 1.0.0", 30.0).code == "runtime.crashed"


def test_a_timeout_names_its_limit_and_the_setting():
    report = breaking_report(RunnerTimeoutError("Too long."), "onnxruntime 1.0.0", 48.25)
    assert (
        report.reason
        == "The model did not finish its trial within 48.2 s; the setting trial.timeout_s raises the limit."
    )
    assert "quickserveml config set trial.timeout_s" in report.detail
    assert report.code == "runtime.timeout"
    assert report.tried_at


def test_kills_for_lack_of_memory_are_counted_where_the_system_tells():
    assert host.oom_kills() >= 0
