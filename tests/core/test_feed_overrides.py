"""Overrides for synthetic inputs, as text and back."""

import pytest

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.feeds import FeedSpec, parse_dim, parse_range, parse_shape, resolve_dim


def test_dims_are_parsed():
    assert parse_dim("batch=8") == ("batch", 8)
    assert parse_dim("a=b=0") == ("a=b", 0)  # names may hold '='


def test_shapes_are_parsed():
    assert parse_shape("image=1x3x224x224") == ("image", (1, 3, 224, 224))
    assert parse_shape("x=5") == ("x", (5,))
    assert parse_shape("x=scalar") == ("x", ())


def test_ranges_are_parsed():
    assert parse_range("image=0:255") == ("image", (0.0, 255.0))
    assert parse_range("x=-1.5:1e3") == ("x", (-1.5, 1000.0))
    assert parse_range("serving:0=2:2") == ("serving:0", (2.0, 2.0))


@pytest.mark.parametrize(
    "text", ["", "batch", "batch=", "=8", "batch=-1", "batch=1.5", "batch=٣", "batch=9999999999999"]
)
def test_what_is_no_dim_is_a_usage_error(text):
    with pytest.raises(UsageError, match=r"is not (an override|a size)"):
        parse_dim(text)


@pytest.mark.parametrize("text", ["x", "x=", "x=1x", "x=x3", "x=1,3", "x=1X3", "x=-1x3"])
def test_what_is_no_shape_is_a_usage_error(text):
    with pytest.raises(UsageError) as error:
        parse_shape(text)
    assert error.value.code == "usage.override"
    assert error.value.hint


@pytest.mark.parametrize("text", ["x", "x=2:1", "x=a:b", "x=0:inf", "x=-inf:0", "x=nan:1", "x=0:nan", "x=:"])
def test_what_is_no_range_is_a_usage_error(text):
    with pytest.raises(UsageError) as error:
        parse_range(text)
    assert error.value.code == "usage.override"


def test_the_options_of_a_spec_parse_back_to_it():
    spec = FeedSpec(
        dims={"n": 4, "a=b": 2},
        shapes={"x": (1, 3), "s": ()},
        ranges={"x": (-0.1, 255.123456789), "y": (0.0, 1e30)},
        batch=16,
        seed=7,
    )
    parsed = FeedSpec(dims={}, shapes={}, ranges={})
    options = spec.to_args()
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option == "--dim":
            parsed.dims.update([parse_dim(value)])
        elif option == "--shape":
            parsed.shapes.update([parse_shape(value)])
        elif option == "--range":
            parsed.ranges.update([parse_range(value)])
    assert (parsed.dims, parsed.shapes, parsed.ranges) == (spec.dims, spec.shapes, spec.ranges)
    assert options[-4:] == ["--batch", "16", "--seed", "7"]


def test_a_seed_lies_over_the_saved_one_and_0_says_nothing():
    saved = FeedSpec(seed=7)
    assert FeedSpec(seed=9).over(saved).seed == 9
    assert FeedSpec(seed=0).over(saved).seed == 7
    assert FeedSpec(seed=0).over(FeedSpec()).seed == 0


def test_defaults_need_no_options():
    assert FeedSpec().to_args() == []


def test_a_dim_takes_its_own_size_then_the_override_then_the_batch_then_one():
    spec = FeedSpec(dims={"n": 5}, batch=8)
    assert resolve_dim(3, 0, spec) == 3
    assert resolve_dim("n", 0, spec) == 5
    assert resolve_dim("other", 0, spec) == 8
    assert resolve_dim("other", 1, spec) == 1
    assert resolve_dim(None, 0, spec) == 8
    assert resolve_dim(None, 2, spec) == 1


@pytest.mark.parametrize("parse", [parse_dim, parse_shape, parse_range])
@pytest.mark.parametrize("text", ["\x1b[31m", "x=\x1b[31m"])
def test_a_bad_override_is_quoted_without_its_escape_sequences(parse, text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.message.isprintable()


def test_a_size_of_thousands_of_digits_is_a_usage_error():
    with pytest.raises(UsageError):
        parse_dim("batch=" + "9" * 5000)


def test_a_range_may_be_one_value() -> None:
    assert parse_range("trips=10") == ("trips", (10.0, 10.0))
