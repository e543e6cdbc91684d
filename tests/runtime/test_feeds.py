from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickserveml_tui.core.errors import DataError, ModelError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime.feeds import FreeSize, feed_shapes, synthesize

NUMERIC = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", [*NUMERIC, "bool", "string", "bfloat16", "float8e5m2"])
def test_every_common_dtype_is_made_and_the_same_for_the_same_seed(dtype):
    inputs = (TensorSpec("x", dtype, ("N", 3)),)
    first = synthesize(inputs, FeedSpec(batch=2, seed=7))["x"]
    assert first.shape == (2, 3)
    np.testing.assert_array_equal(first, synthesize(inputs, FeedSpec(batch=2, seed=7))["x"])


@pytest.mark.parametrize("dtype", [name for name in NUMERIC if "int" in name])
def test_integers_are_0_or_1_because_they_may_index_a_table(dtype):
    values = synthesize((TensorSpec("x", dtype, (500,)),), FeedSpec())["x"]
    assert set(values.tolist()) == {0, 1}


def test_a_range_bounds_the_values():
    inputs = (TensorSpec("i", "int32", (300,)), TensorSpec("f", "float32", (300,)))
    made = synthesize(inputs, FeedSpec(ranges={"i": (-3, 3), "f": (10.0, 20.0)}))
    assert set(made["i"].tolist()) == set(range(-3, 4))
    assert made["f"].min() >= 10
    assert made["f"].max() <= 20
    assert made["f"].dtype == np.float32


def test_a_symbolic_dim_has_one_size_in_all_inputs():
    inputs = (TensorSpec("a", "float32", ("B", "S")), TensorSpec("b", "float32", ("S", "B")))
    assert feed_shapes(inputs, FeedSpec(batch=4)) == {"a": (4, 4), "b": (4, 4)}
    assert feed_shapes(inputs, FeedSpec(dims={"S": 7})) == {"a": (1, 7), "b": (7, 1)}
    assert feed_shapes(inputs, FeedSpec(shapes={"a": (2, 5)})) == {"a": (2, 5), "b": (5, 2)}


@given(st.lists(st.lists(st.sampled_from(["A", "B", "C", None, 2]), max_size=4), min_size=1, max_size=4))
def test_linked_dims_agree_whatever_the_shapes(shapes):
    inputs = tuple(TensorSpec(f"x{index}", "uint8", tuple(shape)) for index, shape in enumerate(shapes))
    made = synthesize(inputs, FeedSpec(), free=FreeSize(3))
    sizes: dict[str, set[int]] = {}
    for spec in inputs:
        for dim, size in zip(spec.shape, made[spec.name].shape, strict=True):
            assert not isinstance(dim, int) or dim == size
            if isinstance(dim, str):
                sizes.setdefault(dim, set()).add(size)
    assert all(len(found) == 1 for found in sizes.values())


def test_unknown_ranks_get_one_dim_and_scalars_none():
    inputs = (TensorSpec("any", "float32", None), TensorSpec("scalar", "float32", ()))
    assert feed_shapes(inputs, FeedSpec()) == {"any": (1,), "scalar": ()}


def test_more_than_a_gibibyte_is_refused_before_it_is_allocated():
    with pytest.raises(DataError) as caught:
        synthesize((TensorSpec("x", "float32", (2**60, 4)),), FeedSpec())
    assert caught.value.code == "data.too_large"
    assert "PB" in caught.value.message


@pytest.mark.parametrize(
    ("feed", "hint"),
    [
        (FeedSpec(dims={"bacth": 2}), "batch"),
        (FeedSpec(shapes={"imag": (1,)}), "image"),
        (FeedSpec(ranges={"Image": (0, 1)}), "image"),
        (FeedSpec(shapes={"image": (1, 4)}), "batch×3"),
        (FeedSpec(shapes={"image": (1, 3, 1)}), "batch×3"),
    ],
)
def test_an_override_that_names_nothing_or_does_not_fit_says_what_would(feed, hint):
    with pytest.raises(UsageError) as caught:
        synthesize((TensorSpec("image", "float32", ("batch", 3)),), feed)
    assert hint in caught.value.hint


def test_a_batch_that_no_input_can_take_is_refused():
    with pytest.raises(UsageError):
        synthesize((TensorSpec("x", "float32", (1, 3)),), FeedSpec(batch=8))
    assert synthesize((TensorSpec("x", "float32", (8, 3)),), FeedSpec(batch=8))["x"].shape == (8, 3)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("s", "map(int64,tensor(string))", None, "map"),
        TensorSpec("s", "seq(map(int64,tensor(float)))", None, "sequence"),
        TensorSpec("s", "opaque(a,b)", None),
        TensorSpec("s", "float6e2m3", (2,)),
    ],
)
def test_inputs_that_cannot_be_made_are_model_errors(spec):
    with pytest.raises(ModelError):
        synthesize((spec,), FeedSpec())
