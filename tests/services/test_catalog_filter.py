"""What a filter of the catalog finds: every field, every operator, what is missing, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from catalog_builders import make_facts, make_model, make_version
from filter_zoo import Registry, State, make_figures, measured_zoo
from hypothesis import given
from hypothesis import strategies as st

from quickserveml_tui.core.catalog import CatalogQuery
from quickserveml_tui.core.errors import FilterError
from quickserveml_tui.core.filters.build import build_filter
from quickserveml_tui.core.filters.fields import Kind
from quickserveml_tui.core.filters.syntax import And, Comparison, Exists, Not, Operator, Or, Value, Word, write_filter
from quickserveml_tui.services.catalog_fields import CATALOG_FIELDS
from quickserveml_tui.services.catalog_listing import CatalogListing
from quickserveml_tui.services.catalog_rows import Row

EVERYTHING = {"resnet50", "bert", "old-net", "broken", "empty", "many"}


@pytest.fixture(scope="module")
def listing():
    return CatalogListing(*measured_zoo())


def found(listing, text):
    return {head.name for head in listing.match(text)}


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", EVERYTHING),
        ("RES", {"resnet50"}),
        ("net", {"resnet50", "old-net"}),
        ("class", {"resnet50"}),
        ("lovelace", {"bert", "old-net"}),
        ("encoder", {"bert"}),
        ("'bidirectional\nenc'", {"bert"}),
        ("vision legacy", {"old-net"}),
        ("vision/class", {"resnet50"}),
        ("canary", {"many"}),
        ("1.2.0", {"many"}),
        ("conv", {"resnet50"}),
        ("CONV", {"resnet50"}),
        ("con", set()),
        ("gelu", {"resnet50"}),
        ("'com.microsoft:Gelu'", {"resnet50"}),
        ("nothing", set()),
        ("pytorch", set()),
        ("{{7*7}}", set()),
        ("\u202egpj", set()),
    ],
)
def test_a_word_occurs_in_the_texts_or_is_an_operator(listing, text, names):
    assert found(listing, text) == names


def test_a_word_does_not_match_across_two_texts(listing):
    assert found(listing, "'resnet50 classification'") == set()
    assert found(listing, "resnet50class") == set()


# ---- fields ---------------------------------------------------------------------------------------------------------

FIELD_CASES = {
    "name": [("name = RESNET50", {"resnet50"}), ("name < c", {"bert", "broken"}), ("name:old", {"old-net"})],
    "id": [("id = model-2", {"bert"})],
    "task": [("task = classification", {"resnet50"}), ("task EXISTS", {"resnet50", "bert"})],
    "author": [("author = 'ADA lovelace'", {"bert", "old-net"}), ("author LIKE 'Ada%'", {"bert"})],
    "description": [(r"description ILIKE '%50\% SMALLER'", {"bert"}), ("description EXISTS", {"bert"})],
    "framework": [("framework IN (jax, pytorch)", {"resnet50"})],
    "license": [("license:apache", {"resnet50"})],
    "tag": [("tag = Vision", {"resnet50", "old-net"}), ("tags:vis", {"resnet50", "old-net"}), ("tag:ision", set())],
    "category": [
        ("category = vision", {"resnet50"}),
        ("category = vision/classification", {"resnet50"}),
        ("category = vision/class", set()),
        ("category:vision", {"resnet50", "bert"}),
        ("categories LIKE vision", {"resnet50"}),
    ],
    "alias": [("alias = prod", {"resnet50", "many"})],
    "versions": [("versions > 1", {"many"}), ("versions = 0", {"empty"})],
    "created": [
        ("created = 2026-01-31", {"bert"}),
        ("created <= 2026-01-31", {"resnet50", "bert"}),
        ("created > 2026-01-31", {"old-net", "broken", "empty", "many"}),
        ("created:2026-01", {"resnet50", "bert"}),
        ("created IN (2026-01-10, 2026-02-01)", {"resnet50", "old-net"}),
        ("created < 2026-02-01T02:00+02:00", {"resnet50", "bert"}),
    ],
    "updated": [("updated >= 2026-03", {"bert"}), ("updated > 7d", set())],
    "version": [("version >= 2", {"many"})],
    "label": [("label = 1.3.0", {"many"}), ("label = 1.2.0", set())],
    "state": [
        ("state = validated", {"resnet50"}),
        ("state:arch", {"old-net"}),
        ("state = unrunnable", {"broken"}),
        ("state:ready tag:text", {"bert"}),
        ("state NOT IN (draft, archived)", {"resnet50", "empty"}),
    ],
    "outcome": [("outcome = unrunnable", {"broken"}), ("outcome != ready", {"broken"})],
    "runnable": [("runnable = no", {"broken"}), ("runnable:true name:m", {"many"})],
    "size": [("size > 6kB", {"bert"}), ("size = 5000", {"resnet50"}), ("size >= 9 kB", {"bert"})],
    "golden": [("golden > 0", {"many"}), ("golden = 0", {"resnet50", "bert", "old-net", "broken"})],
    "params": [("params < 30M AND params > 1M", {"resnet50"}), ("parameters = 0.11B", {"bert"})],
    "macs": [("macs >= 4.1G", {"resnet50"}), ("macs EXISTS", EVERYTHING - {"bert", "empty"})],
    "nodes": [("nodes IN (120, 300)", {"resnet50", "bert"})],
    "op": [
        ("op = conv", {"resnet50"}),
        ("op = Gelu", {"resnet50"}),
        ("op = com.microsoft:gelu", {"resnet50"}),
        ("op:com.microsoft:gelu", {"resnet50"}),
        ("op:soft", {"bert"}),
        ("op LIKE '%:Gelu'", {"resnet50"}),
    ],
    "dtype": [
        ("dtype = float16", {"bert"}),
        ("dtype IN (f16, bf16)", {"bert"}),
        ("dtype = fp16", {"bert"}),
        ("dtype = uint8", {"resnet50"}),
    ],
    "input": [("input = image", {"resnet50"}), ("input IN (ids, image)", {"resnet50", "bert"})],
    "output": [("output:sc", {"resnet50"})],
    "input.dtype": [("input.dtype = i64", {"bert"})],
    "output.dtype": [("output.dtype = string", {"bert"})],
    "opset": [("opset > 17", {"bert"})],
    "ir": [("ir = 10", {"bert"})],
    "measured": [("measured = true", {"resnet50", "bert"}), ("measured = no", EVERYTHING - {"resnet50", "bert"})],
    "bench.p50_ms": [("bench.p50_ms < 5", {"resnet50"}), ("p50 >= 0.02s", {"bert"})],
    "bench.p90_ms": [("bench.p90_ms = 3", {"resnet50", "bert"})],
    "bench.p95_ms": [("p95_ms <= 4000us", {"resnet50", "bert"})],
    "bench.p99_ms": [("bench.p99_ms < 10", {"resnet50"}), ("p99_ms > 50 ms", {"bert"})],
    "bench.min_ms": [("bench.min < 1.5", {"resnet50", "bert"})],
    "bench.max_ms": [("bench.max_ms >= 9", {"resnet50", "bert"})],
    "bench.mean_ms": [("bench.mean_ms > 1s", set())],
    "bench.throughput": [("bench.throughput > 0.3k", {"resnet50", "bert"})],
    "bench.rss": [("bench.rss < 200MB", {"resnet50"}), ("bench.rss EXISTS", {"resnet50"})],
    "bench.cpu": [("bench.cpu > 80%", {"resnet50"})],
    "bench.noisy": [("bench.noisy = yes", {"bert"}), ("bench.noisy != yes", {"resnet50"})],
    "bench.n": [("bench.n >= 500", {"resnet50"})],
    "bench.at": [("bench.at = 2026-02-03", {"resnet50", "bert"})],
    "meta": [
        ("meta.accuracy > 0.8", {"bert"}),
        ("meta.accuracy = .760", {"resnet50"}),
        ("meta.accuracy = UNKNOWN", {"broken"}),
        ("meta.accuracy IN (0.9, unknown)", {"bert", "broken"}),
        ("meta.accuracy != 0.9", {"resnet50", "broken"}),
        ("META.team LIKE NLP", {"bert"}),
        ("meta.Team EXISTS", set()),
        ("metadata.'my key':V", {"resnet50"}),
        ("meta.team > m", {"bert"}),
    ],
    "digest": [],
}


@pytest.mark.parametrize(("text", "names"), [case for cases in FIELD_CASES.values() for case in cases])
def test_a_field_finds(listing, text, names):
    assert found(listing, text) == names


def test_a_digest_is_found_by_its_beginning(listing):
    digest = next(head for head in listing.match("bert")).versions[-1].artifact.digest
    assert found(listing, f"digest = {digest[:8].upper()}") == {"bert"}
    assert found(listing, f"sha256 IN ({digest}, {'0' * 64})") == {"bert"}


def test_every_field_is_tried_above():
    assert {field.name for field in CATALOG_FIELDS.fields} | {"meta"} == set(FIELD_CASES)


def test_every_example_of_a_field_is_valid():
    for field in CATALOG_FIELDS.fields:
        build_filter(field.example, CATALOG_FIELDS)


# ---- operators and what is missing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("author = 'Ada Lovelace'", {"bert", "old-net"}),
        ("author != 'Ada Lovelace'", set()),
        ("author NOT IN (x)", {"bert", "old-net"}),
        ("author NOT LIKE 'Ada%'", {"old-net"}),
        ("NOT author = 'Ada Lovelace'", EVERYTHING - {"bert", "old-net"}),
        ("NOT author EXISTS", EVERYTHING - {"bert", "old-net"}),
        ("macs != 12", {"resnet50"}),
        ("bench.p99_ms != 5", {"bert"}),
        ("NOT bench.p99_ms < 10", EVERYTHING - {"resnet50"}),
        ("bench.p99_ms EXISTS", {"resnet50", "bert"}),
    ],
)
def test_a_missing_value_neither_equals_nor_differs(listing, text, names):
    assert found(listing, text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tag != vision", EVERYTHING - {"resnet50", "old-net"}),
        ("tag NOT IN (vision, text)", {"broken", "empty", "many"}),
        ("tag NOT LIKE '%i%'", {"broken", "empty", "many", "bert"}),
        ("tag EXISTS", {"resnet50", "old-net", "bert"}),
        ("op != MatMul", {"resnet50", "empty"}),
    ],
)
def test_of_several_values_any_may_equal_and_all_must_differ(listing, text, names):
    assert found(listing, text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("vision OR text", {"resnet50", "old-net", "bert", "many"} - {"many"}),
        ("(tag = vision OR tag = text) AND NOT state = archived", {"resnet50", "bert"}),
        ("tag = vision OR tag = text AND NOT state = archived", {"resnet50", "old-net", "bert"}),
        ("params < 10M AND bench.p99_ms < 5", set()),
        ("params < 100M AND bench.p99_ms < 6 AND vision", {"resnet50"}),
    ],
)
def test_terms_combine(listing, text, names):
    assert found(listing, text) == names


# ---- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "column", "hint"),
    [
        ("bench.p9_ms < 5", 1, "bench.p99_ms"),
        ("prams < 5", 1, "params"),
        ("a AND categry = x", 7, "category"),
        ("EXISTS autor", 8, "author"),
        ("tga:vision", 1, "tag"),
        ("zzzzzz:1", 1, "quotes"),
        ("meta. = 1", 6, "meta.accuracy"),
        ("params < vision", 10, "10M"),
        ("params < 5MB", 10, "10M"),
        ("params IN (1, x)", 15, "10M"),
        ("size > 5 ms", 8, "25MB"),
        ("bench.p99_ms < 5MB", 16, "5ms"),
        ("created > soon", 11, "2026-01-31"),
        ("created = 7d", 11, "<"),
        ("runnable = maybe", 12, "true"),
        ("state = archvied", 9, "archived"),
        ("state:x", 7, "validated"),
        ("digest = xyz", 10, "3fa9c1"),
        ("params LIKE x", 8, "<"),
        ("tag < x", 5, "="),
        ("runnable < true", 10, "="),
        ("runnable IN (true)", 10, "="),
        ("created LIKE 2026", 9, "<"),
    ],
)
def test_what_does_not_fit_the_field_is_an_error_where_it_stands(listing, text, column, hint):
    with pytest.raises(FilterError) as caught:
        listing.check(text)
    assert caught.value.column == column
    assert hint in caught.value.hint
    with pytest.raises(FilterError):
        listing.list_models(CatalogQuery(text=text))


@given(st.text(max_size=40))
def test_any_text_is_answered_or_refused_with_a_column(text):
    try:
        build_filter(text, CATALOG_FIELDS)
    except FilterError as error:
        column = error.column
    else:
        column = 1
    assert 1 <= column <= len(text) + 1


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_figures_are_read_only_where_they_are_asked_for():
    registry, state = measured_zoo()
    listing = CatalogListing(registry, state)
    listing.list_models(CatalogQuery("params < 10M", sort="-size"))
    listing.check("bench.p99_ms < 5")
    listing.complete("bench.p99_ms < ", 15)
    assert state.reads == 0
    for _ in range(3):
        listing.list_models(CatalogQuery("bench.p99_ms < 5"))
        listing.list_models(CatalogQuery(sort="p50"))
    assert state.reads == 1
    state.add("model-3", p99_ms=0.1)
    assert found(listing, "bench.p99_ms < 1") == {"old-net"}
    assert state.reads == 2


def test_only_the_models_of_a_page_are_read_in_full():
    registry, state = measured_zoo()
    page = CatalogListing(registry, state).list_models(CatalogQuery(limit=2))
    assert (registry.found, page.total) == (2, 6)


def test_a_filter_follows_a_change():
    registry, state = Registry(), State()
    listing = CatalogListing(registry, state)
    assert found(listing, "fresh") == set()
    registry.put(make_model("a", id="1", tags=("fresh",)))
    assert found(listing, "fresh") == {"a"}
    registry.put(make_model("a", id="1", tags=("stale",)))
    assert found(listing, "fresh OR tag = fresh") == set()
    registry.put(make_model("a", id="1", tags=("fresh",)))
    assert found(listing, "fresh") == found(listing, "tag = fresh") == {"a"}


# ---- against a naive reading ----------------------------------------------------------------------------------------

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CHOICES = {
    "name": ["a", "ab", "B"], "author": ["ada", "Bob", "zoe"], "tag": ["vision", "text", "VISION"],
    "params": ["0", "1k", "1000", "2M"], "op": ["conv", "Relu"], "meta.k": ["1", "1.0", "x", "X"],
    "bench.p99_ms": ["5", "0.005s", "7"], "runnable": ["true", "false"],
}  # fmt: skip
READ = {
    "name": lambda row: row.head.name,
    "author": lambda row: row.head.author or None,
    "tag": lambda row: row.head.tags,
    "params": lambda row: row.version.facts.params if row.version else None,
    "op": lambda row: tuple(row.version.facts.op_types) if row.version else (),
    "meta.k": lambda row: row.head.metadata.get("k"),
    "bench.p99_ms": lambda row: row.figures.p99_ms if row.figures else None,
    "runnable": lambda row: row.version.runnable if row.version else None,
}
NUMBERS = {"0": 0, "1k": 1000, "1000": 1000, "2M": 2_000_000, "5": 5, "0.005s": 5, "7": 7}


def same(value, text):
    if isinstance(value, bool):
        return value is (text == "true")
    if isinstance(value, int | float):
        return value == NUMBERS[text]
    if value.casefold() == text.casefold():
        return True
    return {value, text} == {"1", "1.0"}


def naive(tree, row):
    if isinstance(tree, Word):
        head = row.head
        texts = [head.name, head.task, head.author, head.description, *head.tags, *head.categories, *head.aliases]
        ops = [op.casefold() for version in head.versions for op in version.facts.op_types]
        return any(tree.text.casefold() in text.casefold() for text in texts) or tree.text.casefold() in ops
    if isinstance(tree, Not):
        return not naive(tree.term, row)
    if isinstance(tree, And):
        return all(naive(term, row) for term in tree.terms)
    if isinstance(tree, Or):
        return any(naive(term, row) for term in tree.terms)
    value = READ[tree.field](row)
    if isinstance(tree, Exists):
        return value not in (None, ())
    return naive_comparison(tree, value)


def naive_comparison(tree, value):
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    texts = [item.text for item in tree.values]
    if tree.operator in (Operator.EQ, Operator.IN):
        return any(same(one, text) for one in values for text in texts)
    if tree.operator in (Operator.NE, Operator.NOT_IN):
        is_known = isinstance(value, tuple) or value is not None
        return is_known and not any(same(one, text) for one in values for text in texts)
    if tree.operator is Operator.STARTS:
        return any(
            one.casefold().startswith(texts[0].casefold()) if isinstance(one, str) else same(one, texts[0])
            for one in values
        )
    return value is not None and {
        Operator.LT: value < NUMBERS[texts[0]], Operator.LE: value <= NUMBERS[texts[0]],
        Operator.GT: value > NUMBERS[texts[0]], Operator.GE: value >= NUMBERS[texts[0]],
    }[tree.operator]  # fmt: skip


@st.composite
def comparisons(draw):
    name = draw(st.sampled_from(sorted(CHOICES)))
    field = CATALOG_FIELDS.find(name)
    kinds = [Operator.EQ, Operator.NE, Operator.STARTS]
    kinds += [] if field.kind is Kind.FLAG else [Operator.IN, Operator.NOT_IN]
    kinds += [Operator.LT, Operator.LE, Operator.GT, Operator.GE] if field.kind.is_number else []
    operator = draw(st.sampled_from(kinds))
    count = 3 if operator.is_list else 1
    values = draw(st.lists(st.sampled_from(CHOICES[name]), min_size=1, max_size=count))
    return Comparison(name, operator, tuple(map(Value, values)))


TREES = st.recursive(
    st.one_of(
        comparisons(), st.builds(Word, st.sampled_from(["a", "vision", "conv", "x"])),
        st.builds(Exists, st.sampled_from(sorted(CHOICES))),
    ),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: And(tuple(terms))),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: Or(tuple(terms))),
    ),
    max_leaves=8,
)  # fmt: skip


@st.composite
def rows(draw):
    ops = draw(st.lists(st.sampled_from(["Conv", "Relu", "Gemm"]), unique=True))
    facts = make_facts(params=draw(st.sampled_from([0, 1000, 5])), op_types=dict.fromkeys(ops, 1))
    versions = draw(st.sampled_from([(), (make_version(1, facts=facts),)]))
    value = draw(st.sampled_from([None, "1", "1.0", "x", "y"]))
    model = make_model(
        draw(st.sampled_from(["a", "ab", "c"])), versions=versions, author=draw(st.sampled_from(["", "Ada", "zoe"])),
        tags=tuple(draw(st.lists(st.sampled_from(["vision", "Text", "x"]), unique=True))),
        metadata={} if value is None else {"k": value},
    )  # fmt: skip
    figures = draw(st.sampled_from([None, make_figures(), make_figures(p99_ms=7.5)])) if versions else None
    return Row(model, figures)


@given(TREES, rows())
def test_a_filter_means_what_a_naive_reading_says(tree, row):
    text = write_filter(tree)
    assert build_filter(text, CATALOG_FIELDS, now=NOW).matches(row) is naive(tree, row), text
