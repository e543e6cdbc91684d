"""Completion of a filter: what is offered, where it goes, and that it never fails."""

from __future__ import annotations

import pytest
from catalog_builders import make_model
from filter_zoo import Registry, State, measured_zoo
from hypothesis import given, settings
from hypothesis import strategies as st

from quickserveml_tui.core.errors import FilterError
from quickserveml_tui.services.catalog_listing import CatalogListing


@pytest.fixture(scope="module")
def zoo():
    return CatalogListing(*measured_zoo())


def error_of(listing, text):
    try:
        listing.check(text)
    except FilterError as error:
        return error
    return None


def complete(listing, marked):
    """Completions at the `|` in the text."""
    before, _bar, after = marked.partition("|")
    return listing.complete(before + after, len(before))


def labels(listing, marked):
    return [item.label for item in complete(listing, marked)]


def applied(listing, marked, label):
    """The text after one completion, with a `|` where the cursor stands."""
    item = next(item for item in complete(listing, marked) if item.label == label)
    return f"{item.text[: item.cursor]}|{item.text[item.cursor :]}"


@pytest.mark.parametrize(
    ("marked", "first"),
    [
        ("|", ["name", "id", "task"]),
        ("par|", ["params"]),
        ("PAR|", ["params"]),
        ("p99|", ["p99 <"]),
        ("bench.p9|", ["bench.p90_ms", "bench.p95_ms", "bench.p99_ms"]),
        ("vis|", ["vision", "vision/classification"]),
        ("res|", ["resnet50"]),
        ("con|", ["Conv"]),
        ("params|", ["params <", "params <=", "params >", "params >="]),
        ("tag|", ["tag =", "tag !=", "tag:", "tag IN"]),
        ("params |", ["<", "<=", ">", ">=", "="]),
        ("tag |", ["=", "!=", ":", "IN"]),
        ("tag N|", ["NOT IN", "NOT LIKE", "NOT ILIKE"]),
        ("tag NOT |", ["IN", "LIKE", "ILIKE"]),
        ("tag = |", ["vision", "cnn", "legacy", "text"]),
        ("tag:|", ["vision", "cnn"]),
        ("tag = leg|", ["legacy"]),
        ("tag = 'leg|", ["legacy"]),
        ("state = |", ["ready", "draft"]),
        ("state:v|", ["validated"]),
        ("op = |", ["MatMul", "Conv"]),
        ("dtype = f|", ["float32", "float16"]),
        ("alias = |", ["prod", "canary"]),
        ("name = re|", ["resnet50"]),
        ("author = |", ['"Ada Lovelace"', '"ada lovelace"']),
        ("author = ada|", ['"Ada Lovelace"', '"ada lovelace"']),
        ("runnable = |", ["true", "false"]),
        ("created > |", ["1d", "7d"]),
        ("size < |", ["1MB"]),
        ("bench.p99_ms < |", ["1ms", "5ms"]),
        ("meta.|", ["meta.accuracy", 'meta."my key"', "meta.team"]),
        ("meta.te|", ["meta.team"]),
        ("meta.accuracy = |", ["0.76", "0.9", "unknown"]),
        ("EXISTS au|", ["author"]),
        ("tag IN |", ["("]),
        ("tag IN (|", ["vision"]),
        ("tag IN (vision, t|", ["text"]),
        ("tag IN (vision |", [",", ")"]),
        ("(vision |", ["AND", "OR", ")"]),
        ("tag = vision |", ["AND", "OR", "name"]),
        ("tag = vision A|", ["AND"]),
        ("NOT |", ["name"]),
        ("met|", ["meta."]),
    ],
)
def test_what_fits_is_offered_first(zoo, marked, first):
    assert labels(zoo, marked)[: len(first)] == first


@pytest.mark.parametrize(
    ("marked", "label", "result"),
    [
        ("|", "params", "params |"),
        ("par|", "params", "params |"),
        ("par| < 5", "params", "params| < 5"),
        ("pa|rms < 5", "params", "params| < 5"),
        ("params|", "params <", "params < |"),
        ("tag|", "tag:", "tag:|"),
        ("params |", "<", "params < |"),
        ("tag:|", "vision", "tag:vision|"),
        ("tag:v| AND x", "vision", "tag:vision| AND x"),
        ("a AND (tag = leg|) b", "legacy", "a AND (tag = legacy|) b"),
        ("author = 'a| b", '"Ada Lovelace"', 'author = "Ada Lovelace"| b'),
        ("author = 'a|' b", '"Ada Lovelace"', 'author = "Ada Lovelace"| b'),
        ("tag = 'x'|", "AND", "tag = 'x' AND |"),
        ("(tag = 'x'|", ")", "(tag = 'x') |"),
        ("(a OR b)|", "AND", "(a OR b) AND |"),
        ("tag IN ('a'|", ",", "tag IN ('a', |"),
        ("tag IN (a |", ")", "tag IN (a ) |"),
        ("vi|", "vision", "vision |"),
        ("meta.m|", 'meta."my key"', 'meta."my key" |'),
    ],
)
def test_a_completion_replaces_the_word_under_the_cursor(zoo, marked, label, result):
    assert applied(zoo, marked, label) == result


def test_the_most_frequent_value_comes_first():
    registry = Registry(
        make_model(f"m{number}", id=str(number), tags=("common", "rare") if number == 1 else ("common",))
        for number in range(3)
    )
    assert labels(CatalogListing(registry, State()), "tag = |") == ["common", "rare"]


def test_completion_follows_a_change():
    registry = Registry()
    listing = CatalogListing(registry, State())
    assert labels(listing, "tag = |") == []
    registry.put(make_model("a", id="1", tags=("new",)))
    assert labels(listing, "tag = |") == ["new"]


def test_there_are_never_more_than_fifty():
    registry = Registry(make_model(f"m{number}", id=str(number)) for number in range(200))
    assert len(labels(CatalogListing(registry, State()), "name = m|")) == 50


def test_a_value_that_cannot_be_shown_as_it_is_is_not_offered():
    tasks = ("a\x1b[31m", "b\x00", "c\x9b", "\u202egpj", "zero\u200bwidth", "plain", "état", "x" * 300)
    registry = Registry(make_model(f"m{number}", id=str(number), task=task) for number, task in enumerate(tasks))
    assert labels(CatalogListing(registry, State()), "task = |") == ["plain", "état"]


@pytest.mark.parametrize("value", ['say "hi"', "a\\b", "it's", "AND", "a b", "(x)", "=5", ",", "!x", "!"])
def test_every_value_is_offered_so_that_it_can_be_read(value):
    registry = Registry([make_model("m", id="1", task=value), make_model("n", id="2", metadata={value: "1"})])
    listing = CatalogListing(registry, State())
    for marked, name in (("task = |", "m"), ("task IN (|", "m"), ("meta.|", "n")):
        text = complete(listing, marked)[0].text
        text = f"{text})" if "(|" in marked else f"{text} EXISTS" if name == "n" else text
        assert [head.name for head in listing.match(text)] == [name], text


@pytest.mark.parametrize("text", ["\0", "a\ud800", "(" * 10_000, "x" * 5000])
def test_a_text_that_no_filter_can_be_has_no_completions(zoo, text):
    assert zoo.complete(text, len(text)) == ()


PIECES = st.lists(
    st.sampled_from(
        ["(", ")", "'", '"', "\\", ",", " ", "=", "!=", "<", ":", "AND", "OR", "NOT", "IN", "LIKE", "EXISTS", "tag", "params",
         "meta.", "5", "state", "ready", "\u202e", "é", "\n"]
    ),
    max_size=14,
).map(" ".join)  # fmt: skip


@settings(max_examples=150)
@given(st.one_of(st.text(max_size=30), PIECES), st.integers(-3, 60))
def test_completing_never_fails_and_keeps_the_rest(text, cursor):
    listing = CatalogListing(*measured_zoo())
    for item in listing.complete(text, cursor):
        assert 0 <= item.cursor <= len(item.text)
        assert item.label in item.text
        assert item.label.isprintable()


@settings(max_examples=60)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_following_the_completions_is_always_a_filter_on_its_way(choices):
    listing = CatalogListing(*measured_zoo())
    text = ""
    for choice in choices:
        offered = listing.complete(text, len(text))
        text = offered[choice % len(offered)].text if offered else text
        # What is missing is missing at the end, or a parenthesis that is still open; nothing that was offered is wrong.
        error = error_of(listing, text)
        assert error is None or error.column > len(text.rstrip()) or "not closed" in error.message, text
