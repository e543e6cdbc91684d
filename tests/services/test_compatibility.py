"""Limits are asked once per runtime; a model beside them gets its remedy."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager

import pytest

from quickserveml_tui.core.compatibility import RuntimeLimits
from quickserveml_tui.services import compatibility
from quickserveml_tui.services.compatibility import FILE, LimitsService, compare, installed_runtime, takes_line

LIMITS = RuntimeLimits("onnxruntime 9.9.9", 13, {"ai.onnx": 26, "ai.onnx.ml": 5, "com.microsoft": 1}, 28)


class Pool:
    """Counts how often a runner was asked."""

    def __init__(self):
        self.asked = 0

    @contextmanager
    def borrow(self):
        yield self

    def limits(self):
        self.asked += 1
        return LIMITS


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch):
    monkeypatch.setattr(compatibility, "_found", {})


def _forget(monkeypatch):
    monkeypatch.setattr(compatibility, "_found", {})


def test_a_runner_is_asked_once_per_home(tmp_path, monkeypatch):
    pool = Pool()
    assert LimitsService(tmp_path, pool).limits() == LIMITS
    assert LimitsService(tmp_path, pool).limits() == LIMITS
    _forget(monkeypatch)
    assert LimitsService(tmp_path, pool).limits() == LIMITS
    assert pool.asked == 1


def test_another_runtime_is_asked_again(tmp_path, monkeypatch):
    pool = Pool()
    LimitsService(tmp_path, pool).limits()
    monkeypatch.setenv("ALLOW_RELEASED_ONNX_OPSET_ONLY", "0")
    LimitsService(tmp_path, pool).limits()
    assert pool.asked == 2


def _kept(**changes):
    document = {"key": installed_runtime(), "limits": {"runtime": "r", "ir_version": 10, "opsets": {"ai.onnx": 21}}}
    return json.dumps(document | changes)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        "\0" * 1000,
        _kept(key="another"),
        _kept(key=""),
        _kept(limits=None),
        _kept(limits={"runtime": "r", "ir_version": -1, "opsets": {}}),
        _kept(limits={"runtime": "r\x1b]0;x", "ir_version": 1, "opsets": {}}),
        _kept(limits={"runtime": "r", "ir_version": 2**60, "opsets": {}}),
        _kept(limits={"runtime": "r", "ir_version": 1, "opsets": {"a": "b"}}),
        _kept() + " " * 100_000,
        _kept(more=1),
    ],
)
def test_a_file_that_is_not_ours_is_not_believed(tmp_path, content):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).write_text(content)
    assert LimitsService(tmp_path, Pool()).limits() == LIMITS
    assert json.loads((tmp_path / "cache" / FILE).read_text())["limits"]["ir_version"] == 13


def test_a_file_that_is_ours_is_believed(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).write_text(_kept())
    assert LimitsService(tmp_path, Pool()).limits().opsets == {"ai.onnx": 21}


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_a_special_file_in_its_place_does_no_harm(tmp_path, make):
    (tmp_path / "cache").mkdir()
    make(tmp_path / "cache" / FILE)
    assert LimitsService(tmp_path, Pool()).limits() == LIMITS


def test_looking_creates_no_home_and_writes_nothing_read_only(tmp_path, monkeypatch):
    LimitsService(tmp_path / "none", Pool()).limits()
    assert not (tmp_path / "none").exists()
    _forget(monkeypatch)
    LimitsService(tmp_path, Pool(), read_only=True).limits()
    assert not list(tmp_path.iterdir())


def test_a_home_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compatibility.fs, "write_atomic", full)
    assert LimitsService(tmp_path, Pool()).limits() == LIMITS


# ---- a model beside the limits ----------------------------------------------------------------------------------------


def test_a_model_within_the_limits_has_no_mismatch():
    assert compare(13, {"ai.onnx": 26, "ai.onnx.ml": 5}, LIMITS, "m@1").ok


def test_one_command_is_the_remedy_for_opset_and_ir_version():
    found = compare(14, {"ai.onnx": 28}, LIMITS, "m@2")
    assert [(item.what, item.has, item.takes) for item in found.mismatches] == [
        ("opset of ai.onnx", 28, 26),
        ("IR version", 14, 13),
    ]
    assert {item.remedy for item in found.mismatches} == {"Convert it: `quickserveml convert m@2 --opset 26`."}


def test_an_ir_version_alone_is_converted_alone():
    assert "--ir 13`" in compare(14, {"ai.onnx": 17}, LIMITS, "m@2").mismatches[0].remedy


def test_a_file_is_converted_into_a_file():
    remedy = compare(14, {"ai.onnx": 28}, LIMITS, "./my model.onnx").mismatches[0].remedy
    assert "`quickserveml convert './my model.onnx' --output 'my model-converted.onnx' --opset 26`" in remedy


def test_domains_that_the_runtime_does_not_know_are_no_mismatch():
    assert compare(8, {"ai.onnx": 17, "com.example": 99, "own.functions": 3}, LIMITS, "m").ok


def test_other_domains_are_remedied_by_hand():
    remedy = compare(8, {"ai.onnx": 17, "ai.onnx.ml": 6}, LIMITS, "m").mismatches[0].remedy
    assert "opset 5 of ai.onnx.ml" in remedy
    assert "quickserveml convert" not in remedy


def test_an_opset_that_the_converter_does_not_know_is_not_promised_to_convert():
    for item in compare(14, {"ai.onnx": 29}, LIMITS, "m").mismatches:
        assert "quickserveml convert" not in item.remedy


def test_the_limits_fit_one_line():
    assert takes_line(LIMITS) == "onnxruntime 9.9.9 takes opset ≤ 26, ai.onnx.ml ≤ 5, IR ≤ 13"
