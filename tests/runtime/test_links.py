"""Dims that are one axis under two names, ranks that nothing says, sizes by place, and empty tensors."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_models import helper, same, save, tensor

from quickserveml_tui.core.errors import DataError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime.dims import LINKS, FreeSize, resolve_shapes
from quickserveml_tui.runtime.feeds import feed_shapes, synthesize
from quickserveml_tui.runtime.probing import find_feeds
from quickserveml_tui.runtime.session import Session

node = helper.make_node


@pytest.fixture
def shapes_of(tmp_path):
    """Shapes of the inputs that were found for a model."""

    def find(nodes, inputs, feed, **kwargs):
        path = save(tmp_path / "m.onnx", nodes, inputs, [tensor("y", "float32", None)], **kwargs)
        return find_feeds(Session(path), feed, CancelToken()).shapes

    return find


CONCAT = [node("Concat", ["a", "b"], ["y"], axis=1)]
TWO_NAMES = {
    "leading": ([tensor("a", "float32", ["batch", 4]), tensor("b", "float32", ["N", 4])], "batch", "N"),
    "leading, unnamed": ([tensor("a", "float32", ["batch", 4]), tensor("b", "float32", [None, 4])], "batch", "b[0]"),
    "another case": (
        [tensor("a", "float32", ["Batch_Size", 4]), tensor("b", "float32", ["batchSize", 4])], "Batch_Size", "batchSize",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "first", "second"), TWO_NAMES.values(), ids=TWO_NAMES.keys())
def test_two_names_of_one_axis_work_for_every_override(shapes_of, inputs, first, second):
    for feed in (
        FeedSpec(),
        FeedSpec(batch=8),
        FeedSpec(dims={first: 8}),
        FeedSpec(dims={second: 8}),
        FeedSpec(dims={first: 8, second: 8}),
        FeedSpec(dims={"a[0]": 8}),
        FeedSpec(shapes={"a": (8, 4)}),
        FeedSpec(shapes={"b": (8, 4)}),
    ):
        size = 1 if feed == FeedSpec() else 8
        assert shapes_of(CONCAT, inputs, feed) == {"a": (size, 4), "b": (size, 4)}


def test_a_free_dim_takes_the_fixed_size_of_the_same_axis(shapes_of):
    inputs = [tensor("a", "float32", [6, 4]), tensor("b", "float32", ["N", 4])]
    assert shapes_of(CONCAT, inputs, FeedSpec()) == {"a": (6, 4), "b": (6, 4)}


def test_inner_dims_of_two_names_are_linked_too(shapes_of):
    inputs = [tensor("a", "float32", ["B", "S"]), tensor("b", "float32", ["B", "T"])]
    nodes = [node("Concat", ["a", "b"], ["y"], axis=0)]
    assert shapes_of(nodes, inputs, FeedSpec(dims={"S": 5})) == {"a": (1, 5), "b": (1, 5)}
    assert shapes_of(nodes, inputs, FeedSpec(dims={"b[1]": 5})) == {"a": (1, 5), "b": (1, 5)}


def test_an_axis_may_have_another_place_in_another_input(shapes_of):
    inputs = [tensor("a", "float32", ["M", "K"]), tensor("b", "float32", ["J", 3])]
    nodes = [node("MatMul", ["a", "b"], ["y"])]
    assert shapes_of(nodes, inputs, FeedSpec(dims={"K": 7}))["b"] == (7, 3)
    assert shapes_of(nodes, inputs, FeedSpec(dims={"J": 7}))["a"][1] == 7


def test_when_nothing_works_the_error_says_what_was_tried_and_how_to_set_it(shapes_of):
    inputs = [tensor("a", "float32", ["rows", "cols"])]
    weights = helper.make_tensor("w", 1, [17, 1], [0.0] * 17)
    with pytest.raises(DataError) as caught:
        shapes_of([node("MatMul", ["a", "w"], ["y"])], inputs, FeedSpec(), initializers=[weights])
    assert "rows = 1" in caught.value.hint
    assert "cols = 1, 8, 32" in caught.value.hint
    assert "--dim rows=SIZE" in caught.value.hint
    assert shapes_of([node("MatMul", ["a", "w"], ["y"])], inputs, FeedSpec(dims={"cols": 17}), initializers=[weights])


@pytest.mark.parametrize(
    ("nodes", "rank"),
    [
        ([node("GlobalAveragePool", ["x"], ["y"])], 3),
        ([node("DepthToSpace", ["x"], ["p"], blocksize=1), node("Relu", ["p"], ["y"])], 4),
        ([node("MatMul", ["x", "x"], ["y"])], 1),
        ([node("Det", ["x"], ["y"])], 2),
    ],
)
def test_an_unknown_rank_is_found(shapes_of, nodes, rank):
    assert len(shapes_of(nodes, [tensor("x", "float32", None)], FeedSpec())["x"]) == rank


def test_ranks_that_differ_are_found(shapes_of):
    nodes = [node("Conv", ["x", "w", "b"], ["y"])]
    inputs = [tensor(name, "float32", None) for name in ("x", "w", "b")]
    shapes = shapes_of(nodes, inputs, FeedSpec())
    assert (len(shapes["x"]), len(shapes["w"]), len(shapes["b"])) == (3, 3, 1)


def test_an_unknown_rank_can_be_given_by_shape_and_by_place(shapes_of):
    inputs = [tensor("x", "float32", None)]
    nodes = [node("Relu", ["x"], ["y"])]
    assert shapes_of(nodes, inputs, FeedSpec(shapes={"x": (2, 0, 3)})) == {"x": (2, 0, 3)}
    assert shapes_of(nodes, inputs, FeedSpec(dims={"x[2]": 5})) == {"x": (1, 1, 5)}
    assert shapes_of(nodes, inputs, FeedSpec(batch=4)) == {"x": (4,)}


@pytest.mark.parametrize(
    ("shape", "feed", "found"),
    [((), FeedSpec(), ()), ((0, 3), FeedSpec(), (0, 3)), (("n", 3), FeedSpec(dims={"n": 0}), (0, 3))],
)
def test_scalars_and_empty_tensors_run(shapes_of, shape, feed, found):
    nodes = [node("Relu", ["x"], ["y"])]
    assert shapes_of(nodes, [tensor("x", "float32", list(shape))], feed) == {"x": found}


VALUES_NEEDED = {
    "divisors": ([node("Div", ["a", "b"], ["y"])], [tensor("a", "int64", [50]), tensor("b", "int64", [50])], "int64"),
    "axes": ([node("CumSum", ["x", "i"], ["y"])], [tensor("x", "float32", [5]), tensor("i", "int64", [1])], "float32"),
    "factors": (
        [node("Resize", ["x", "", "s"], ["y"], mode="linear")],
        [tensor("x", "float32", [1, 1, 4, 4]), tensor("s", "float32", [4])], "float32",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "inputs", "dtype"), VALUES_NEEDED.values(), ids=VALUES_NEEDED.keys())
def test_values_that_a_model_needs_are_found_and_said(tmp_path, nodes, inputs, dtype):
    session = Session(save(tmp_path / "m.onnx", nodes, inputs, [tensor("y", dtype, None)]))
    found = find_feeds(session, FeedSpec(seed=4), CancelToken())
    assert found.feed.ranges
    again = synthesize(session.inputs, replace(found.feed, shapes=found.shapes))
    assert all(same(again[name], value) for name, value in found.feeds.items())


def test_a_range_that_was_asked_for_is_never_changed(tmp_path):
    nodes, inputs, dtype = VALUES_NEEDED["divisors"]
    session = Session(save(tmp_path / "m.onnx", nodes, inputs, [tensor("y", dtype, None)]))
    with pytest.raises(DataError):
        find_feeds(session, FeedSpec(ranges={"b": (0, 0)}), CancelToken())


IMAGE = TensorSpec("image", "float32", ("N", 3, None, "w"))


def test_a_size_by_place_sets_a_dim_that_has_no_name_and_all_of_one_name():
    other = TensorSpec("mask", "float32", ("w",))
    shapes = feed_shapes((IMAGE, other), FeedSpec(dims={"image[2]": 7, "image[3]": 9}))
    assert shapes == {"image": (1, 3, 7, 9), "mask": (9,)}


def test_a_symbolic_dim_of_the_name_of_a_place_comes_first():
    odd = TensorSpec("x", "float32", ("x[1]", None))
    assert feed_shapes((odd,), FeedSpec(dims={"x[1]": 4})) == {"x": (4, 1)}


def test_places_of_one_name_may_differ():
    square = TensorSpec("x", "float32", ("d", "d"))
    assert feed_shapes((square,), FeedSpec(dims={"x[0]": 2, "x[1]": 3})) == {"x": (2, 3)}


@pytest.mark.parametrize("dims", [{"image[1]": 4}, {"image[4]": 1}, {"imag[0]": 1}, {"image[-1]": 1}, {"image[]": 1}])
def test_a_place_that_is_fixed_or_is_none_is_refused(dims):
    with pytest.raises(UsageError) as caught:
        synthesize((IMAGE,), FeedSpec(dims=dims))
    assert caught.value.hint
    assert synthesize((IMAGE,), FeedSpec(dims={"image[1]": 3}))


SHAPES = st.lists(st.lists(st.sampled_from(["A", "a", "B", None, 2, 5]), max_size=3), min_size=1, max_size=3)


@given(SHAPES, st.sampled_from(["", *LINKS]), st.dictionaries(st.sampled_from("AaB"), st.integers(0, 9), max_size=2))
def test_fixed_dims_and_given_sizes_hold_whatever_is_linked(shapes, link, given_sizes):
    inputs = tuple(TensorSpec(f"x{index}", "uint8", tuple(shape)) for index, shape in enumerate(shapes))
    found = resolve_shapes(inputs, FeedSpec(dims=given_sizes), FreeSize(3, link=link))
    sizes: dict[str, set[int]] = {}
    for spec in inputs:
        for dim, size in zip(spec.shape, found[spec.name], strict=True):
            assert not isinstance(dim, int) or size == dim
            if isinstance(dim, str):
                assert size == given_sizes.get(dim, size)
                sizes.setdefault(dim, set()).add(size)
    assert all(len(each) == 1 for each in sizes.values())
    if link == "all" and not given_sizes:
        fixed = {dim for spec in inputs for dim in spec.shape if isinstance(dim, int)}
        free = {size for spec in inputs for dim, size in zip(spec.shape, found[spec.name], strict=True) if dim is None}
        assert len(free | set(itertools.chain(*sizes.values()))) <= 1 + len(fixed)
