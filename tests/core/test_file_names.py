"""Files that are called alike become models of different names."""

from __future__ import annotations

import pytest

from quickserveml_tui.core.file_names import is_generic, names_from_paths
from quickserveml_tui.core.refs import MAX_NAME, check_name


def test_one_file_has_its_own_name() -> None:
    assert names_from_paths(["bert/model.onnx"]) == ["model"]


def test_files_with_generic_names_are_named_after_their_folders() -> None:
    paths = ["data/simple/test_abs/model.onnx", "data/simple/test_add/model.onnx", "digits.onnx"]
    assert names_from_paths(paths) == ["test_abs", "test_add", "digits"]


def test_variants_in_one_folder_say_which_they_are() -> None:
    paths = ["hub/bert/onnx/model.onnx", "hub/bert/onnx/model_quantized.onnx"]
    assert names_from_paths(paths) == ["bert", "bert-model_quantized"]


def test_files_of_one_name_are_told_apart_by_as_many_folders_as_it_takes() -> None:
    assert names_from_paths(["/a/x/unet.onnx", "/b/y/unet.onnx"]) == ["x-unet", "y-unet"]
    assert names_from_paths(["/a/x/model.onnx", "/b/x/model.onnx", "/c/z/model.onnx"]) == ["a-x", "b-x", "z"]


def test_a_file_that_is_named_twice_is_one_model() -> None:
    assert names_from_paths(["/a/model.onnx", "/a/../a/model.onnx", "/b/model.onnx"]) == ["a", "a", "b"]


@pytest.mark.parametrize(
    "paths",
    [
        ["/a b/model.onnx", "/a-b/model.onnx", "/a-b-2/model.onnx"],
        ["/model.onnx", "/1/model.onnx", "/onnx/model.onnx"],
        [f"/{'x' * 200}/{name}/model.onnx" for name in ("a", "b", "c")],
        ["\0/model.onnx", "\udc80/model.onnx", "çà/model.onnx"],
    ],
)
def test_names_are_valid_and_none_is_there_twice(paths: list[str]) -> None:
    names = names_from_paths(paths)
    assert len(set(names)) == len(paths)
    for name in names:
        assert check_name(name) == name
        assert len(name) <= MAX_NAME


@pytest.mark.parametrize(
    ("file", "generic"), [("Model.ONNX", True), ("model_int8.onnx", True), ("modelnet.onnx", False)]
)
def test_what_says_nothing_of_a_model_is_generic(file: str, generic: bool) -> None:
    from pathlib import Path

    assert is_generic(Path(file)) is generic
